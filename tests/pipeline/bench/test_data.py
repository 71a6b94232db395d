"""`deps bench data` as people use it: all contenders, JSON, files, and no figure for what is wrong."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from data_shards.decoding import dali as dali_reader
from pipeline.bench import data as data_benchmark
from pipeline.bench.reading import rounds
from pipeline.bench.reading.readers import READERS
from pipeline.bench.reading.turns import Turn
from tests.support.command_line import deps, refused

DATA_SETS = ["64-256 px", "320-512 px"]
FIGURES = ("images_per_second", "cpu_us_per_image", "cpu_to_decode_ratio")


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_a_quick_run_measures_every_reader_the_starts_and_a_training(tmp_path: Path, capfd: Any) -> None:
    done = deps("bench", "data", "--quick", "--workers", 1, "--output", tmp_path, "--json")
    assert done.returncode == 0
    assert capfd.readouterr().out == "", "what it starts says nothing"
    found = json.loads(done.stdout)
    assert [data["data_set"] for data in found["data_sets"]] == DATA_SETS
    assert all(1.5 < data["bits_per_pixel"] < 3 for data in found["data_sets"])
    rows = {(row["data_set"], row["contender"]): row for row in found["contenders"]}
    assert set(rows) == {(data, name) for data in DATA_SETS for name in READERS}
    for (data, name), row in rows.items():
        if READERS[name].dali and not dali_reader.installed():
            assert row["status"] == "left out: NVIDIA DALI is not installed"
            assert not any(figure in row for figure in FIGURES)
            continue
        assert row["status"] == "ok", (data, name)
        assert row["workers"] == (0 if READERS[name].in_process else 1)
        assert all(row[figure] > 0 for figure in FIGURES)
        decoding = rows[data, "decode alone"]["cpu_us_per_image"]
        assert row["cpu_to_decode_ratio"] == pytest.approx(row["cpu_us_per_image"] / decoding)
    assert [(start["ranks"], start["step"] > 0) for start in found["starts"]] == [(2, False), (2, True)]
    assert all(0 < start["ready_seconds"] <= start["first_ids_seconds"] for start in found["starts"])
    assert found["training"]["status"] == "ok"
    assert 0 < found["training"]["wait_fraction"] < 1
    assert all(aim["met"] in (True, False, None) for aim in found["aims"])
    (table,), (plot,) = tmp_path.glob("*.csv"), tmp_path.glob("*.svg")
    assert {str(table), str(plot)} == set(found["files"])
    kept = rows_of(table)
    assert [row["part"] for row in kept] == ["reading"] * len(rows) + ["start"] * 2 + ["training"]
    assert all(row["machine"] and row["date"] and row["simplejpeg"] and row["webdataset"] for row in kept)


class _Recorded:
    """A player without a process: one contender is wrong, and must not be asked for a turn."""

    def __init__(self, name: str, workers: int) -> None:
        self.name = name

    def __enter__(self) -> "_Recorded":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def complaint(self, data: Any) -> str | None:
        return "one pass shows 3 images, not 128" if self.name == "webdataset" else None

    def turn(self, data: Any, seconds: float) -> Turn:
        assert self.name != "webdataset"
        return Turn(images=100, seconds=2.0, cpu_seconds=0.5 if self.name == "decode alone" else 1.0)


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The benchmark without processes, starts and training."""
    monkeypatch.setattr(rounds, "Player", _Recorded)
    monkeypatch.setattr(rounds, "left_out", lambda name: None)
    monkeypatch.setattr(data_benchmark, "measure_starts", lambda *_: [])
    monkeypatch.setattr(data_benchmark, "measure_wait", lambda *_: {"status": "left out: not here"})


@pytest.mark.usefixtures("recorded")
def test_a_contender_that_is_wrong_has_no_figure_and_exit_code_1(tmp_path: Path) -> None:
    done = deps("bench", "data", "--quick", "--workers", 2, "--output", tmp_path)
    assert done.returncode == 1
    for line in done.stdout.splitlines():
        if "FAILED" in line:
            assert "webdataset" in line
            assert not any(character.isdigit() for character in line.split("FAILED")[1].replace(" 2 ", ""))
    assert done.stdout.count("FAILED") == 2
    assert "images/s of the Python reader over webdataset's, at least 2 (not measured)" in done.stdout
    assert "64-256 px: CPU time of the Python reader over decoding alone, at most 2.5: 2 (met)" in done.stdout
    (told,) = done.stderr.splitlines()
    assert "webdataset, 64-256 px: one pass shows 3 images, not 128" in told
    (table,) = tmp_path.glob("*.csv")
    for row in rows_of(table):
        if row["part"] == "reading":
            assert all(bool(row[figure]) == (row["contender"] != "webdataset") for figure in FIGURES)


@pytest.mark.usefixtures("recorded")
def test_figures_are_medians_of_the_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    costs = iter([1.0, 9.0, 2.0])
    asked: list[str] = []

    def turn(self: _Recorded, data: Any, seconds: float) -> Turn:
        asked.append(self.name)
        return Turn(100, 2.0, next(costs) if self.name == "image folder" else 0.5)

    monkeypatch.setattr(_Recorded, "turn", turn)
    (data,) = [type("Data", (), {"name": "pictures"})]
    rows = rounds.measure_readers([data], 3, 0.1, 2, lambda text: None)
    folder = next(row for row in rows if row["contender"] == "image folder")
    assert folder["images_per_second"] == 50
    assert folder["cpu_us_per_image"] == pytest.approx(20_000)
    assert folder["cpu_to_decode_ratio"] == pytest.approx(4)
    one_round = [name for name in READERS if name != "webdataset"]
    assert asked == one_round * 3  # in turns, not one after the other


@pytest.mark.usefixtures("recorded")
def test_a_quick_run_is_kept_only_where_a_folder_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(_Recorded, "complaint", lambda *_: None)
    monkeypatch.setattr(_Recorded, "turn", lambda *_: Turn(1, 1.0, 1.0))
    done = deps("bench", "data", "--quick")
    assert done.returncode == 0
    assert "Kept: " not in done.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--images", 100], "--images: 100 are too few; legal: 128 or more"),
        (["--images", 0], "'--images': '0' is no whole number from 1 to 1000000"),
        (["--repeats", 0], "'--repeats': '0' is no whole number from 1 to 10000"),
        (["--workers", 0], "'--workers': '0' is no whole number from 1 to 1024"),
        (["--workers", 33, "--images", 128], "--workers: 33 is not legal; legal for 128 images: 1 … 32"),
        (["--output", "/proc/nowhere"], "--output: /proc/nowhere: cannot be written to"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments: list[Any], complaint: str) -> None:
    done = deps("bench", "data", *arguments)
    assert complaint in refused(done)
    assert not done.stdout


def test_help_shows_examples() -> None:
    done = deps("bench", "data", "--help")
    assert done.returncode == 0
    assert "Examples:" in done.stdout
