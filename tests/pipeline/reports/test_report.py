"""The report states what the run folders hold, in units that are true, and names what is wrong with a folder."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from pipeline.commands import artifacts
from pipeline.commands.report import print_report
from pipeline.reports import plots
from pipeline.reports.report import ReportError, write_report
from pipeline.reports.run_record import read_run
from pipeline.reports.summary import group
from pipeline.tracking import outbox
from pipeline.tracking.metrics import MetricsLog, read_rows

from .run_folders import SUBNETS, make_run


def rows_of(markdown, heading):
    """The first table under a heading (or of the page), as lists of cells by their first cell."""
    part = markdown.split(f"## {heading}")[1] if heading else markdown
    lines = part[part.index("\n| ") + 1 :].split("\n\n")[0].splitlines()
    cells = [[cell.strip(" *") for cell in line.strip("|").split(" | ")] for line in lines]
    return {row[0].strip(): [cell.strip() for cell in row[1:]] for row in cells}


def report(folders, output):
    written = write_report(folders, output)
    assert all(path.is_file() for path in written.pages)
    return (output / "report.md").read_text(), (output / "report.html").read_text()


@pytest.fixture(scope="module")
def two_approaches(tmp_path_factory):
    """Three seeds with a ramp and three without, and their report."""
    root = tmp_path_factory.mktemp("runs")
    folders = [make_run(root / f"deps_{seed}", seed=seed, dip=3.0) for seed in (1, 2, 3)]
    folders += [
        make_run(root / f"noramp_{seed}", "no ramp", seed, ramp_epochs=0, dip=8.0, smallest=88.0) for seed in (1, 2, 3)
    ]
    return folders, *report(folders, root / "report")


def top1(folder, name):
    rows = json.loads((folder / "evaluation.json").read_text())
    return next(row["top1"] for row in rows if row["name"] == name)


def test_key_figures_state_every_run_and_the_mean_over_seeds_with_n(two_approaches):
    folders, markdown, _ = two_approaches
    table = rows_of(markdown, "")
    for folder in folders:
        full, smallest = table[folder.name][1:3]
        assert float(full) == pytest.approx(top1(folder, "full"), abs=0.006)
        assert float(smallest) == pytest.approx(top1(folder, "smallest"), abs=0.006)
    values = [top1(folder, "full") for folder in folders[:3]]
    mean = sum(values) / 3
    deviation = (sum((value - mean) ** 2 for value in values) / 2) ** 0.5
    assert table["DεpS"][0] == "n = 3"
    assert table["DεpS"][1] == f"{mean:.2f} ± {deviation:.2f}"


def test_the_cost_table_has_the_form_of_the_papers_first_table(two_approaches):
    folders, markdown, _ = two_approaches
    table = rows_of(markdown, "Cost")
    assert table["approach"] == [
        "smallest (12.3M MACs)",
        "at 27.1M MACs",
        "mean Pareto",
        "epochs",
        "CPU process minutes per epoch",
        "CPU process hours",
        "dollars",
        "training MACs",
    ]
    smallest, middle, pareto, epochs, minutes, hours, dollars, macs = table["DεpS"]
    offsets = [top1(folder, "smallest") - 90.0 for folder in folders[:3]]
    shift = sum(offsets) / 3
    assert float(smallest.split(" ±")[0]) == pytest.approx(90.0 + shift, abs=0.006)
    assert float(middle.split(" ±")[0]) == pytest.approx(90.0 + 6 * 0.68 + shift, abs=0.006)
    gains = [row[-1] for row in SUBNETS]
    assert float(pareto.split(" ±")[0]) == pytest.approx(90.0 + 6 * sum(gains) / len(gains) + shift, abs=0.006)
    assert (epochs, minutes, hours, dollars, macs) == ("20", "3.60", "1.20", "–", "4.20 P")


def test_the_dip_when_shrinking_begins_is_before_minus_lowest_after(two_approaches):
    _, markdown, _ = two_approaches
    table = rows_of(markdown, "When shrinking begins")
    dips = {name: [float(cell.split(" ±")[0]) for cell in table[name][1:]] for name in ("DεpS", "no ramp")}
    for before, lowest, points in dips.values():
        assert points == pytest.approx(before - lowest, abs=0.011)
    assert dips["DεpS"][2] == pytest.approx(3.0, abs=0.5)
    assert dips["no ramp"][2] == pytest.approx(8.0, abs=0.5)
    assert table["DεpS"][0] == "3"


def test_the_dip_is_looked_for_in_the_first_quarter_of_what_remains_only(tmp_path):
    folder = make_run(tmp_path / "run", epochs=20, full_model_epochs=10)
    start, quarter = 500, 625
    kept = [line for line in (folder / "metrics.jsonl").read_text().splitlines() if "acc/" not in line]

    def row(step, accuracy):
        return json.dumps({"step": step, "time": 1.0, "metrics": {"acc/full": accuracy}})

    kept += [row(start - 50, 80.0), row(start, 90.0), row(start + 25, 89.0), row(quarter, 88.0), row(quarter + 1, 50.0)]
    (folder / "metrics.jsonl").write_text("\n".join(kept) + "\n")
    markdown, _ = report([folder], tmp_path / "report")
    assert rows_of(markdown, "When shrinking begins")["DεpS"] == ["1", "90.00", "88.00", "2.00"]


def test_a_run_that_trains_subnets_from_the_start_has_no_dip_to_show(tmp_path):
    folder = make_run(tmp_path / "bignas", "BigNAS", full_model_epochs=0, ramp_epochs=0)
    markdown, _ = report([folder], tmp_path / "report")
    assert "When shrinking begins" not in markdown
    assert "## Learning curves" in markdown


def test_process_hours_are_never_called_gpu_hours(tmp_path, two_approaches):
    _, markdown, html = two_approaches
    for text in (markdown, html):
        assert "CPU process hours" in text
        assert not re.search(r"GPU (hours|minutes)", text)
    both = [make_run(tmp_path / "a"), make_run(tmp_path / "b", unit="GPU hours", price=2.0, seed=2)]
    mixed, _ = report(both, tmp_path / "report")
    table = rows_of(mixed, "")
    assert table["run"][-5:] == ["hours", "unit", "dollars", "training MACs", "trained"]
    assert table["a"][4:7] == ["1.20", "CPU process hours", "–"]
    assert table["b"][4:7] == ["1.20", "GPU hours", "2.40"]
    costs = rows_of(mixed, "Cost")
    assert "DεpS (cost in GPU hours)" in costs  # an approach on both is two rows: their hours have no mean
    assert "DεpS (cost in CPU process hours)" in costs


def test_the_cost_is_split_by_what_it_went_into(two_approaches):
    _, markdown, _ = two_approaches
    split = markdown.split("| share of cost ")[1].splitlines()
    assert split[0] == "| full model | ramp | supernet | evaluation | checkpoint | data wait | idle |"
    assert split[2] == "| DεpS | 25.0 % | 12.0 % | 45.0 % | 7.0 % | 1.0 % | 4.0 % | 6.0 % |"


def test_a_price_gives_dollars(tmp_path):
    folders = [make_run(tmp_path / f"run_{hours}", seed=hours, price=2.0, hours=hours) for hours in (1, 3)]
    markdown, _ = report(folders, tmp_path / "report")
    assert rows_of(markdown, "Cost")["DεpS"][-3:-1] == ["2.00", "4.00"]


def test_training_macs_are_told_where_they_were_counted(tmp_path):
    folders = [make_run(tmp_path / f"run_{macs}", seed=macs, macs=macs * 10**15) for macs in (1, 2)]
    folders.append(make_run(tmp_path / "before", "of an earlier version", macs=None))
    markdown, _ = report(folders, tmp_path / "report")
    assert rows_of(markdown, "")["run_1"][-2] == "1.00 P"
    table = rows_of(markdown, "Cost")
    assert table["DεpS"][-1] == "1.50 P", "the mean"
    assert table["of an earlier version"][-1] == "not counted"
    assert "against training MACs so far" in markdown
    assert (tmp_path / "report" / "accuracy_training_macs.svg").is_file()
    alone, _ = report(folders[2:], tmp_path / "alone")
    assert "against training MACs" not in alone


def test_accuracies_in_training_are_of_the_images_that_they_were_measured_on(tmp_path):
    folders = [make_run(tmp_path / f"run_{seed}", seed=seed) for seed in (1, 2)]
    held_out, _ = report(folders, tmp_path / "before")
    assert "validation" not in held_out
    for folder in folders:
        description = json.loads((folder / "run.json").read_text())
        (folder / "run.json").write_text(json.dumps({**description, "validation_samples": 500}))
    kept, _ = report(folders, tmp_path / "after")
    assert "Accuracies in training are of validation images (500)" in kept
    assert "Validation accuracy in training against cost so far" in kept
    assert "The full model's validation accuracy around" in kept
    assert "top-1 on held-out images" in kept, "of the test split, in the table"


def test_an_unevaluated_run_is_said_to_be_so_and_not_mixed_into_means(tmp_path):
    folders = [make_run(tmp_path / "one", seed=1), make_run(tmp_path / "two", seed=2, evaluated=False, full=50.0)]
    markdown, _ = report(folders, tmp_path / "report")
    assert "Not evaluated: two" in markdown
    table = rows_of(markdown, "")
    assert table["two"][1].endswith("†")
    assert table["two"][3] == "–"
    assert table["DεpS"][1] == f"{top1(folders[0], 'full'):.2f} (n = 1)"
    alone, _ = report(folders[1:], tmp_path / "alone")
    assert "No run was evaluated yet" in alone


def test_a_run_that_was_stopped_is_said_to_be_so_and_pays_for_the_epochs_it_trained(tmp_path):
    markdown, _ = report([make_run(tmp_path / "run", stop_at=500)], tmp_path / "report")
    assert "| stopped at step 500 of 1000 |" in markdown
    assert rows_of(markdown, "Cost")["DεpS"][3:5] == ["10", "7.20"]


def test_runs_of_one_name_with_different_recipes_are_not_seeds_of_one_approach(tmp_path):
    folders = [make_run(tmp_path / "one", seed=1), make_run(tmp_path / "two", seed=2, ramp_epochs=0)]
    costs = rows_of(report(folders, tmp_path / "report")[0], "Cost")
    assert set(costs) == {"approach", "---", "DεpS (epsilon_ramp 3 epochs)", "DεpS (epsilon_ramp 0 epochs)"}


def test_one_seed_trained_twice_is_refused(tmp_path):
    with pytest.raises(ReportError, match="seed 1 of DεpS again"):
        write_report([make_run(tmp_path / "one", seed=1), make_run(tmp_path / "two", seed=1)], tmp_path / "report")


def test_the_same_folder_twice_is_not_two_seeds(tmp_path):
    folder = make_run(tmp_path / "run")
    markdown, _ = report([folder, folder / ".." / "run"], tmp_path / "report")
    assert markdown.startswith("# digits100: DεpS\n\n1 run of 1 approach")


class References(HTMLParser):
    """Collects every address that a page would load, and its images."""

    def __init__(self):
        super().__init__()
        self.addresses, self.images, self.tags = [], 0, set()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.images += tag == "img"
        self.addresses += [value for name, value in attrs if name in ("src", "href", "srcset", "data")]


def test_the_html_needs_no_other_file_no_network_and_no_script(two_approaches):
    _, markdown, html = two_approaches
    page = References()
    page.feed(html)
    assert page.images == markdown.count("![")
    assert all(address.startswith("data:image/svg+xml;base64,") for address in page.addresses)
    assert not page.tags & {"script", "link", "iframe"}
    assert "url(" not in html
    assert "@import" not in html
    assert 'name="viewport"' in html


def test_the_markdown_links_to_figures_that_lie_beside_it(two_approaches, tmp_path):
    folders, *_ = two_approaches
    markdown, _ = report(folders, tmp_path)
    linked = re.findall(r"!\[[^]]*\]\(([^)]+)\)", markdown)
    assert len(linked) == len(set(linked)) >= 7
    for name in linked:
        assert (tmp_path / name).read_text().lstrip().startswith("<?xml")


def test_the_same_runs_give_the_same_report(two_approaches, tmp_path):
    folders, markdown, html = two_approaches
    assert report(folders, tmp_path) == (markdown, html)


def test_names_cannot_inject_markup(tmp_path):
    folder = make_run(tmp_path / "run", approach="<img src=x> | & more")
    markdown, html = report([folder], tmp_path / "report")
    assert "<img src=x>" not in html
    assert "\\|" in markdown


def test_machine_versions_seeds_and_dates_are_stated(two_approaches):
    _, markdown, _ = two_approaches
    origin = rows_of(markdown, "Where this comes from")
    assert origin["noramp_3"][1:3] == ["3", "2026-11-20 08:00 UTC"]
    assert "2 CPU cores" in origin["noramp_3"][-1]
    assert "torch 2.13.0" in markdown


def damage_json(key, value):
    def damage(path):
        content = json.loads(path.read_text())
        (content[0] if isinstance(content, list) else content)[key] = value
        path.write_text(json.dumps(content))

    return damage


@pytest.mark.parametrize(
    ("name", "damage", "says"),
    [
        ("run.json", lambda path: path.unlink(), "No such file"),
        ("config.yaml", lambda path: path.unlink(), "No such file"),
        ("config.yaml", lambda path: path.write_text("a: [1"), "not YAML"),
        ("config.yaml", lambda path: path.write_text("word"), "not a recipe"),
        ("metrics.jsonl", lambda path: path.unlink(), "No such file"),
        ("ledger.json", lambda path: path.unlink(), "No such file"),
        ("run.json", lambda path: path.write_text("{"), "not JSON"),
        ("run.json", lambda path: path.write_bytes(b"\xff"), "not UTF-8"),
        ("run.json", damage_json("steps", "many"), "steps"),
        ("run.json", damage_json("phases", [{"name": "x"}]), "phases.0.start"),
        ("metrics.jsonl", lambda path: path.write_text("step,loss\n"), "line 1"),
        ("ledger.json", lambda path: path.write_text("{}"), "unit"),
        ("evaluation.json", damage_json("macs", -1), "0.macs"),
        ("evaluation.json", damage_json("pareto", False), "lacks the Pareto row's smallest"),
        ("evaluation.json", lambda path: path.write_text("[]"), "smallest and full"),
        ("evaluation.json", lambda path: path.write_text('{"a": 1}'), "list"),
    ],
)
def test_what_is_wrong_with_a_run_folder_is_one_line_with_the_file(tmp_path, name, damage, says):
    folder = make_run(tmp_path / "run")
    damage(folder / name)
    with pytest.raises(ReportError) as caught:
        write_report([folder], tmp_path / "report")
    message = str(caught.value)
    assert str(folder / name) in message
    assert says in message
    assert "\n" not in message
    assert not (tmp_path / "report").exists()


def test_a_missing_folder_no_folder_and_different_data_sets_are_refused(tmp_path):
    with pytest.raises(ReportError, match="no such run folder"):
        write_report([tmp_path / "none"], tmp_path / "report")
    with pytest.raises(ReportError, match="at least one"):
        write_report([], tmp_path / "report")
    one, two = make_run(tmp_path / "one"), make_run(tmp_path / "two", seed=2)
    damage_json("dataset", "digits")(two / "run.json")
    with pytest.raises(ReportError, match="digits100, digits"):
        write_report([one, two], tmp_path / "report")


@pytest.mark.parametrize("unit", ["GPU hours", "CPU process hours"])
def test_accuracy_is_drawn_against_the_cost_in_its_unit(tmp_path, unit):
    folder = make_run(tmp_path / "run", unit=unit)
    markdown, _ = report([folder], tmp_path / "report")
    assert f"against cost so far, in {unit}" in markdown
    rows = list(read_rows(folder / "metrics.jsonl"))
    (folder / "metrics.jsonl").unlink()
    log = MetricsLog(folder / "metrics.jsonl")
    for row in rows:
        log.log(row.step, {name: value for name, value in row.metrics.items() if not name.startswith("cost/")})
    markdown, _ = report([folder], tmp_path / "without")
    assert "against cost so far" not in markdown


def test_subnets_outside_the_pareto_row_are_shown_and_in_no_mean(tmp_path):
    asked = [("d2-k3-e3-r24", 5_000_000, 20.0), ("d4-k7-e6-r48", 90_000_000, 30.0), ("d2-k5-e4-r32", 19_800_000, 1.0)]
    plain = make_run(tmp_path / "plain")
    more = make_run(tmp_path / "more", others=[*asked, asked[0]])
    without, _ = report([plain], tmp_path / "without_report")
    markdown, _ = report([more], tmp_path / "more_report")
    assert rows_of(markdown, "")["more"] == rows_of(without, "")["plain"]
    assert rows_of(markdown, "Cost") == rows_of(without, "Cost")
    row, extended = (rows_of(text, "Accuracy against size") for text in (without, markdown))
    assert extended == {
        **row,
        "d2-k3-e3-r24": ["5.00M", "0.500M", "20.00"],
        "d4-k7-e6-r48": ["90.0M", "0.500M", "30.00"],
    }
    assert "in no mean over it: d2-k3-e3-r24, d4-k7-e6-r48." in markdown
    together, _ = report([plain, make_run(tmp_path / "other", seed=2, others=asked)], tmp_path / "both")
    assert "evaluated on different subnets" not in together


def drawn(draw, monkeypatch):
    """The axes of a plot, as matplotlib holds them."""
    found = []
    monkeypatch.setattr(plots, "_draw", lambda path, fill, **_: fill(found.append(Figure().add_subplot()) or found[0]))
    draw()
    return found[0]


def test_subnets_outside_the_pareto_row_are_markers_and_not_on_the_line(tmp_path, monkeypatch):
    asked = [("d2-k3-e3-r24", 5_000_000, 20.0), ("d2-k3-e4-r24", 5_000_000, 40.0)]
    approaches = group([read_run(make_run(tmp_path / "run", others=asked))])
    axes = drawn(lambda: plots.macs_plot(tmp_path / "x.svg", approaches, plots.Looks(approaches)), monkeypatch)
    line, markers = axes.lines[:2]
    assert list(line.get_xdata()) == pytest.approx([macs / 1e6 for _, _, macs, *_ in SUBNETS])
    assert list(markers.get_ydata()) == [20.0, 40.0]  # of one size, yet two subnets
    assert markers.get_linestyle() == "None"


@pytest.mark.parametrize(
    ("measured", "limits"),
    [
        ([50, 400, 450, 500, 525, 560, 800], (-2.0, 1.2)),  # steps; 50 a epoch, the window is (500, 625]
        ([100, 550], (-8.0, 1.0)),  # the one before is what the dip is counted from
        ([525, 600], (0.0, 2.0)),
        ([500], (-1.0, 1.0)),
    ],
)
def test_the_shrinking_plot_ends_with_what_was_measured(tmp_path, monkeypatch, measured, limits):
    folder = make_run(tmp_path / "run", epochs=20, full_model_epochs=10)
    rows = [json.dumps({"step": step, "time": 1.0, "metrics": {"acc/full": 90.0}}) for step in measured]
    (folder / "metrics.jsonl").write_text("\n".join(rows) + "\n")
    approaches = group([read_run(folder)])
    axes = drawn(lambda: plots.shrink_plot(tmp_path / "x.svg", approaches, plots.Looks(approaches)), monkeypatch)
    if len(measured) > 1:
        assert axes.get_xlim() == pytest.approx(limits)
    inside = [step for step in measured if limits[0] <= (step - 500) / 50 <= limits[1]]
    assert list(axes.lines[0].get_xdata()) == pytest.approx([(step - 500) / 50 for step in inside])


def test_the_figures_as_json_are_those_of_the_page(tmp_path, capsys):
    folders = [make_run(tmp_path / f"run_{seed}", seed=seed, price=2.0) for seed in (1, 2)]
    folders.append(make_run(tmp_path / "short", "short", stop_at=400, evaluated=False))
    print_report(folders, tmp_path / "report", as_json=True)
    content = json.loads(capsys.readouterr().out)
    assert {"report.md", "report.html"} < {Path(page).name for page in content["pages"]}
    assert all(Path(page).is_file() for page in content["pages"])
    page = (tmp_path / "report" / "report.md").read_text()
    figures, costs, dips = rows_of(page, ""), rows_of(page, "Cost"), rows_of(page, "When shrinking begins")

    one, two, short = content["runs"]
    assert (one["name"], one["approach"], one["seed"], one["unit"]) == ("run_1", "DεpS", 1, "CPU process hours")
    accuracies = [one[f"{name}_top1_percent"] for name in ("full", "smallest", "mean_pareto")]
    assert [f"{value:.2f}" for value in accuracies] == figures["run_1"][1:4]
    assert (one["hours"], one["dollars"], one["epochs"]) == pytest.approx((1.2, 2.4, 20))
    assert (short["evaluated"], short["mean_pareto_top1_percent"], short["shrink_dip_points"]) == (False, None, None)
    assert f"{short['full_top1_percent']:.2f} †" == figures["short"][1]

    deps, alone = content["approaches"]
    assert (deps["approach"], deps["n"], alone["n"]) == ("DεpS", 2, 1)
    full, dip = deps["full_top1_percent"], deps["shrink_dip_points"]
    assert f"{full['mean']:.2f} ± {full['deviation']:.2f}" == figures["DεpS"][1]
    assert full["mean"] == pytest.approx((one["full_top1_percent"] + two["full_top1_percent"]) / 2)
    assert f"{dip['mean']:.2f} ± {dip['deviation']:.2f}" == dips["DεpS"][3]
    assert f"{deps['minutes_per_epoch']['mean']:.2f}" == costs["DεpS"][4]
    assert alone["hours"] == {"mean": pytest.approx(1.2), "deviation": None, "n": 1}
    assert alone["mean_pareto_top1_percent"] is None


def test_without_json_the_pages_are_named_line_by_line(tmp_path, capsys):
    print_report([make_run(tmp_path / "run")], None, as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [str(tmp_path / "run" / "report" / name) for name in ("report.md", "report.html")]


@pytest.mark.parametrize("taken", ["report", "report/report.md", "report/cost_split.svg"])
def test_an_output_that_cannot_be_written_is_named(tmp_path, taken):
    output = tmp_path / "report"
    if taken == "report":
        output.write_text("a file in the place of the folder")
    else:
        (tmp_path / taken).mkdir(parents=True)
    with pytest.raises(ReportError, match="cannot be written") as caught:
        write_report([make_run(tmp_path / "run")], output)
    assert str(tmp_path / taken) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_run_that_was_killed_before_it_measured_anything_is_reported(tmp_path):
    folder = make_run(tmp_path / "run", evaluated=False)
    (folder / "metrics.jsonl").write_text("")
    markdown, _ = report([folder], tmp_path / "report")
    assert "stopped at step 0 of 1000" in markdown


def test_a_tracked_run_gets_the_report_in_its_folder_and_nothing_else(tmp_path, monkeypatch, caplog):
    run = make_run(tmp_path / "run")
    where = {"uri": "http://127.0.0.1:1", "artifacts": None, "experiment": "e", "name": "run", "params": {}, "tags": {}}
    outbox.append(run, "run", where)
    (run / "report").mkdir()
    (run / "report" / "diary.txt").write_text("private")
    monkeypatch.setattr(artifacts, "sync_run", lambda folder: None)

    def sent() -> set[str]:
        entries = [outbox.parse(line) for line in (run / outbox.OUTBOX).read_text().splitlines()]
        return {Path(entry["path"]).name for entry in entries if entry["kind"] == "artifact"}

    print_report([run], tmp_path / "home", as_json=False)
    assert sent() == set()
    assert f"MLflow gets reports in the run's own folder only: deps report {run}" in caplog.text
    print_report([run], None, as_json=False)
    pages = {path.name for path in (run / "report").iterdir()}
    assert sent() == pages - {"diary.txt"} | {"evaluation.json"}
    assert {"report.md", "report.html"} < sent()


def test_phases_and_slots_of_any_method_are_shown_by_their_names(tmp_path, monkeypatch):
    folder = make_run(tmp_path / "run")
    info = json.loads((folder / "run.json").read_text())
    names = [("teacher", ["full"]), ("elastic kernel", ["subnet"]), ("elastic depth", ["subnet", "subnet"])]
    for phase, (name, slots) in zip(info["phases"], names, strict=True):
        phase |= {"name": name, "slots": slots}
    (folder / "run.json").write_text(json.dumps(info))
    log = MetricsLog(folder / "metrics.jsonl")
    log.log(info["steps"], {"loss/subnet": 0.5})
    markdown, _ = report([folder], tmp_path / "report")
    assert "When shrinking begins" in markdown  # the first step of the first phase that trains subnets
    assert read_run(folder).shrink_start == info["phases"][1]["start"]
    approaches = group([read_run(folder)])
    looks = plots.Looks(approaches)
    axes = drawn(
        lambda: plots.curves_plot(tmp_path / "x.svg", approaches[0], looks, "loss", "training loss", None), monkeypatch
    )
    assert [text.get_text() for text in axes.texts] == ["teacher", "elastic kernel", "elastic depth"]
    assert "subnet" in axes.get_legend_handles_labels()[1]


def test_approaches_of_one_name_are_told_apart_by_network_first_and_never_alike(tmp_path):
    run = read_run(make_run(tmp_path / "run"))
    own = [
        {"model.dropout": "0.0", "model.a": "1", "model.b": "1", "space.depths": "[]", "space.network": "proxyless"},
        {"model.dropout": "0.0", "model.a": "1", "model.b": "1", "space.depths": "[]", "space.network": "resnet50"},
        {"model.dropout": "0.2", "model.a": "2", "model.b": "2", "space.network": "resnet50"},
        {"model.dropout": "0.2", "model.a": "2", "model.b": "2", "model.c": "9", "space.network": "resnet50"},
    ]
    found = [approach.name for approach in group([replace(run, recipe=recipe) for recipe in own])]
    assert found == [
        "DεpS (network proxyless, a 1, b 1)",
        "DεpS (network resnet50, a 1, b 1)",
        "DεpS (network resnet50, a 2, b 2, dropout 0.2)",
        "DεpS (network resnet50, a 2, b 2, dropout 0.2, c 9)",
    ]
