"""`deps bench evaluate`: both contenders are told and kept, and no figure is given where they differ."""

import csv
import json
from pathlib import Path

import pytest

from pipeline.bench import evaluate
from tests.support.command_line import deps, refused

SMALL = ("--network", "mobilenet_v3_digits", "--subnets", 2, "--images", 100, "--repeats", 1, "--device", "cpu")


@pytest.fixture(autouse=True)
def few_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read in this process."""
    config = evaluate.DataConfig
    monkeypatch.setattr(evaluate, "DataConfig", lambda **keys: config(**keys, workers=0))


def test_every_contender_is_told_and_kept(tmp_path: Path) -> None:
    done = deps("bench", "evaluate", *SMALL, "--output", tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    ours, other = found["contenders"]
    assert (ours["contender"], other["contender"]) == ("ours", "one by one")
    assert ours["ratio"] == 1
    assert other["ratio"] == pytest.approx(other["seconds_per_subnet"] / ours["seconds_per_subnet"])
    assert ours["subnets_per_minute"] == pytest.approx(60 / ours["seconds_per_subnet"])
    assert (found["images"], found["recalibration_images"], found["subnets"]) == (100, 200, 2)
    table, plot = map(Path, found["files"])
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    wanted = {"network", "resolution_px", "contender", "seconds_per_subnet", "ratio", "images", "machine", "torch"}
    assert len(rows) == 2
    assert all(row[name] for row in rows for name in wanted)
    assert plot.read_text().startswith("<?xml")


def test_different_accuracies_have_no_figure_and_exit_code_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "recalibrate", lambda network, batches: None)
    done = deps("bench", "evaluate", *SMALL, "--output", tmp_path)
    assert done.returncode == 1
    assert "bench evaluate: mobilenet_v3_digits: loss of d" in done.stderr
    assert "FAILED" in done.stdout
    (table,) = tmp_path.glob("*.csv")
    assert "seconds_per_subnet" not in table.read_text()


def test_an_unknown_network_is_one_line() -> None:
    line = refused(deps("bench", "evaluate", "--network", "resnet"))
    assert "--network 'resnet': is none; legal: mobilenet_v3, " in line
