"""`deps search` on a trained run: measured once, on validation images, whatever ends it and however many help."""

import json
import re
import shutil
import sys
from pathlib import Path

import pytest
import torch

from data_shards.open_data import open_data
from pipeline.evaluation.evaluate import Evaluator
from pipeline.latency.reading import read_latencies
from pipeline.latency.table import latency
from pipeline.predictor.predictor import read_predictor
from pipeline.processes.group import Processes
from pipeline.run.folder import read_recipe
from pipeline.supernet.complexity import complexity
from pipeline.supernet.store import load_supernet
from tests.pipeline.latency.machines import MadeUp, built
from tests.support import processes as launched
from tests.support.command_line import deps, refused
from tests.support.processes import small_run

KEPT = 150
ASKED = ("--evaluations", 14, "--limit", "macs=1.5M", "--seed", 3)


@pytest.fixture(scope="module")
def trained(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    keys = ["name=run", "engine.name=single", f"data.validation_samples={KEPT}"]
    done = deps("train", *small_run(digits, runs), *keys)
    assert done.returncode == 0, done.stderr
    return runs / "run"


@pytest.fixture(scope="module")
def unbroken(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run after a search that nothing ended."""
    run = shutil.copytree(trained, tmp_path_factory.mktemp("unbroken") / "run")
    assert deps("search", run, *ASKED).returncode == 0
    return run


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return shutil.copytree(trained, tmp_path / "run")


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What is measured: on which images, which subnet."""
    seen: list[tuple[str, str]] = []
    subnets = Evaluator.subnets

    def noting(self, supernet, chosen):
        images = "validation" if len(self._held_out) == KEPT else "test"
        seen.extend((images, str(each)) for each in chosen)
        return subnets(self, supernet, chosen)

    monkeypatch.setattr(Evaluator, "subnets", noting)
    return seen


def front_of(run: Path) -> dict:
    return json.loads((run / "search" / "front.json").read_text())


@pytest.mark.parametrize("against", ["macs", "latency"])
def test_a_front_within_a_limit_of_latency(
    against: str, run: Path, tmp_path: Path, measured: list[tuple[str, str]]
) -> None:
    space, table = load_supernet(run).space, tmp_path / "table.json"
    built(space, tmp_path, MadeUp()).write(table)
    told = json.loads(deps("search", run, "--profile", "--latency", table, "--json").stdout)["measures"]
    [ends] = [each for each in told if each["name"] == "latency"]
    asked = ("--latency", table, "--against", against, "--evaluations", 8)
    done = deps("search", run, *asked, "--limit", f"latency={ends['least'] * 0.9:.6f}ms")
    assert re.search(
        r"--limit latency=\d+\.\d{3}: no subnet has as low a latency in ms; least .*, greatest", refused(done)
    )
    assert not measured
    limit = (ends["least"] + ends["greatest"]) / 2
    done = deps("search", run, *asked, "--limit", f"latency={limit:.6f}ms", "--json")
    assert done.returncode == 0, done.stderr
    found = front_of(run)
    assert found["latency"] == "onnxruntime 0, 1 thread, batch 1, on a machine"
    latencies, _ = read_latencies(table)
    for each in found["front"]:
        expected = latency(latencies, space, space.parse(each["subnet"])) * 1000
        assert each["latency_ms"] == pytest.approx(expected, abs=1e-6)
        assert each["latency_ms"] <= limit


def evaluations(run: Path) -> str:
    return (run / "search" / "evaluations.jsonl").read_text()


def test_the_front_has_the_figures_of_its_subnets(run: Path, measured: list[tuple[str, str]]) -> None:
    done = deps("search", run, *ASKED, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {**found, "checksum": front_of(run)["checksum"]} == front_of(run)
    validation = [subnet for images, subnet in measured if images == "validation"]
    assert len(set(validation)) == len(validation) == found["measured"] == 14
    supernet = load_supernet(run)
    space = supernet.space
    assert {str(space.smallest()), str(space.largest())} <= set(validation[:2])
    front = found["front"]
    assert [row["macs"] for row in front] == sorted({row["macs"] for row in front})
    assert [row["validation_top1"] for row in front] == sorted({row["validation_top1"] for row in front})
    assert all(row["macs"] <= 1.5e6 for row in (*front, *found["uniform"]))
    tested = {subnet for images, subnet in measured if images == "test"}
    assert tested == {row["subnet"] for row in (*front, *found["uniform"])}
    recipe = read_recipe(run)
    data = open_data(recipe.data)
    assert data.validation is not None
    best = front[-1]
    subnet = space.parse(best["subnet"])
    size = complexity(space, subnet)
    assert (best["macs"], best["params"]) == (size.macs, size.parameters)
    for images, split in (("validation", data.validation), ("test", data.test)):
        evaluator = Evaluator(data.train, split, recipe.data, recipe.evaluation, Processes(0, 1, torch.device("cpu")))
        assert best[f"{images}_top1"] == evaluator.subnet(supernet, subnet).top1
    assert read_predictor(run / "search" / "predictor.json", space, "").subnets == 14
    assert (run / "search" / "front.svg").read_text().startswith("<?xml")


def test_again_nothing_is_measured_and_other_searches_begin_with_what_is_known(
    run: Path, measured: list[tuple[str, str]]
) -> None:
    deps("search", run, *ASKED)
    first = front_of(run)
    begun = len(measured)
    assert deps("search", run, *ASKED).returncode == 0
    assert front_of(run) == first
    assert len(measured) == begun
    done = deps("search", run, "--evaluations", 6, "--against", "params", "--json")
    assert json.loads(done.stdout)["measured"] == 20
    assert len(set(measured)) == len(measured)
    assert deps("search", run, *ASKED).returncode == 0
    assert front_of(run) == first


def test_the_front_is_a_section_of_the_report(unbroken: Path, tmp_path: Path) -> None:
    assert deps("report", unbroken, "--output", tmp_path).returncode == 0
    text = (tmp_path / "report.md").read_text()
    assert "## Searched subnets" in text
    for row in front_of(unbroken)["front"]:
        assert re.search(rf"\| {re.escape(row['subnet'])} .*{row['validation_top1']:.2f}.*{row['test_top1']:.2f}", text)
    run = shutil.copytree(unbroken, tmp_path / "run")
    front = run / "search" / "front.json"
    front.write_text(front.read_text().replace("validation_top1", "validation", 1))
    assert "its content is not that of its checksum" in refused(deps("report", run, "--output", tmp_path))


def test_validation_figures_are_those_of_an_evaluation_of_the_run(unbroken: Path, tmp_path: Path) -> None:
    run = shutil.copytree(unbroken, tmp_path / "run")
    front = {row["subnet"]: row["validation_top1"] for row in front_of(run)["front"]}
    named = [part for subnet in front for part in ("--subnet", subnet)]
    done = deps("evaluate", run, "--validation", *named, "--json")
    assert done.returncode == 0, done.stderr
    found = {row["subnet"]: row["top1"] for row in json.loads(done.stdout)}
    assert {subnet: found[subnet] for subnet in front} == front


@pytest.mark.parametrize("after", [1, 5, 17])
def test_a_search_that_was_killed_goes_on_to_the_same_front(
    after: int, run: Path, unbroken: Path, measured: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    noting = Evaluator.subnets

    def killing(self, supernet, subnets):
        if len(measured) >= after:
            raise KeyboardInterrupt
        return noting(self, supernet, subnets)

    with monkeypatch.context() as patch:
        patch.setattr(Evaluator, "subnets", killing)
        assert deps("search", run, *ASKED).returncode == 130
    kept = evaluations(run)
    assert len(kept.splitlines()) == len(measured) >= after
    assert not (run / "search" / "front.json").exists()
    (run / "search" / "evaluations.jsonl").write_text(kept + kept[:40])  # what a kill may leave of the next one
    assert deps("search", run, *ASKED).returncode == 0
    assert len(set(measured)) == len(measured)
    assert evaluations(run) == evaluations(unbroken)
    assert front_of(run) == front_of(unbroken)


@pytest.mark.distributed
def test_two_processes_find_what_one_finds(run: Path, unbroken: Path) -> None:
    program = "import deps_command; deps_command.main()"
    launched.run(["-c", program, "search", str(run), *map(str, ASKED)], 2)
    assert evaluations(run) == evaluations(unbroken)
    assert front_of(run) == front_of(unbroken)


def test_the_profile_is_the_spaces(run: Path) -> None:
    space = load_supernet(run).space
    least, greatest = (complexity(space, subnet) for subnet in (space.smallest(), space.largest()))
    found = json.loads(deps("search", run, "--profile", "--json").stdout)
    macs, params = found["measures"]
    assert (macs["least"], macs["greatest"]) == (least.macs, greatest.macs)
    assert (params["least"], params["greatest"]) == (least.parameters, greatest.parameters)
    assert least.macs < macs["middle"] < greatest.macs
    assert found["subnets"] == 2 * 1764  # at two resolutions
    assert "3,528 subnets" in deps("search", run, "--profile").stdout
    assert not (run / "search").exists()


def test_what_cannot_be_searched_is_refused_in_a_line_before_anything_is_measured(
    run: Path, measured: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    line = refused(deps("search", run, "--limit", "macs=1k"))
    assert re.search(r"--limit macs=1000: no subnet has as few MACs; least \d+, greatest \d+$", line)
    assert "add --latency TABLE" in refused(deps("search", run, "--limit", "latency=5ms"))
    assert "--against 'time': is no measure; legal: macs, params" in refused(deps("search", run, "--against", "time"))
    assert "is no run folder" in refused(deps("search", run / "checkpoints"))
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "pymoo", None)
        assert "search needs pymoo: pip install" in refused(deps("search", run))
    config = run / "config.yaml"
    lines = config.read_text().splitlines()[1:]  # without its seal
    config.write_text("\n".join(lines).replace(f"validation_samples: {KEPT}", "validation_samples: 0"))
    assert "was trained without validation images" in refused(deps("search", run))
    assert not measured
    assert not (run / "search").exists()
