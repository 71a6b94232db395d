"""The report states what the run folders hold, in units that are true, and names what is wrong with a folder."""

import json
import re
from html.parser import HTMLParser

import pytest

from pipeline.evaluation.report import ReportError, write_report

from .run_folders import SUBNETS, make_run


def rows_of(markdown, heading):
    """The first table under a heading (or of the page), as lists of cells by their first cell."""
    part = markdown.split(f"## {heading}")[1] if heading else markdown
    lines = part[part.index("\n| ") + 1 :].split("\n\n")[0].splitlines()
    cells = [[cell.strip(" *") for cell in line.strip("|").split(" | ")] for line in lines]
    return {row[0].strip(): [cell.strip() for cell in row[1:]] for row in cells}


def report(folders, output):
    written = write_report(folders, output)
    assert all(path.is_file() for path in written)
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
    ]
    smallest, middle, pareto, epochs, minutes, hours, dollars = table["DεpS"]
    offsets = [top1(folder, "smallest") - 90.0 for folder in folders[:3]]
    shift = sum(offsets) / 3
    assert float(smallest.split(" ±")[0]) == pytest.approx(90.0 + shift, abs=0.006)
    assert float(middle.split(" ±")[0]) == pytest.approx(90.0 + 6 * 0.68 + shift, abs=0.006)
    gains = [row[-1] for row in SUBNETS]
    assert float(pareto.split(" ±")[0]) == pytest.approx(90.0 + 6 * sum(gains) / len(gains) + shift, abs=0.006)
    assert (epochs, minutes, hours, dollars) == ("20", "3.60", "1.20", "–")


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
    assert table["run"][-4:] == ["hours", "unit", "dollars", "trained"]
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
    assert rows_of(markdown, "Cost")["DεpS"][-2:] == ["2.00", "4.00"]


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
        ("ledger.json", lambda path: path.write_text("{}"), "segments"),
        ("evaluation.json", damage_json("macs", -1), "0.macs"),
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


def test_a_run_that_was_killed_before_it_measured_anything_is_reported(tmp_path):
    folder = make_run(tmp_path / "run", evaluated=False)
    (folder / "metrics.jsonl").write_text("")
    markdown, _ = report([folder], tmp_path / "report")
    assert "stopped at step 0 of 1000" in markdown
