"""Damage to metrics is told with its line: no figure is another, and none is lost without a word."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.tracking.metrics import MetricsError, MetricsLog, last_step, lost_rows, read_metrics

ROWS = {2: {"loss/full": 2.5, "acc/full": float("nan")}, 4: {"loss/full": 1.25}, 6: {"loss/full": 0.5}}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    log = MetricsLog(tmp_path / "metrics.jsonl")
    for step, metrics in ROWS.items():
        log.log(step, metrics)
    log.close()
    return tmp_path / "metrics.jsonl"


def figures(path: Path) -> str:
    return str({name: [each.tolist() for each in series] for name, series in read_metrics(path).items()})


def test_any_bit_that_is_flipped_changes_no_figure_or_is_told_with_its_line(path: Path) -> None:
    written, expected = path.read_bytes(), figures(path)
    ends = [at for at, byte in enumerate(written) if byte == ord("\n")]
    told = 0
    for at in range(0, 8 * len(written), 3):  # each bit of a byte has its turn
        flipped = bytearray(written)
        flipped[at // 8] ^= 1 << at % 8
        path.write_bytes(flipped)
        complaint = lost_rows(path, 6)
        if complaint is None:
            assert figures(path) == expected
            continue
        told += 1
        line = 1 + sum(end < at // 8 for end in ends)
        assert f"metrics.jsonl, line {line}: " in complaint
        assert len(complaint.replace(str(path), "")) < 250
        assert complaint.isprintable()
    assert told > 0.99 * 8 * len(written) / 3


def test_any_cut_is_told(path: Path) -> None:
    written = path.read_bytes()
    for length in range(len(written) - 1):
        path.write_bytes(written[:length])
        assert "; what was measured from there to step 6 is lost" in (lost_rows(path, 6) or "")
    path.unlink()
    assert "ends at step 0; what was measured from there to step 6 is lost" in (lost_rows(path, 6) or "")


def test_a_row_torn_anywhere_is_passed_over_also_once_others_follow(path: Path) -> None:
    written = path.read_bytes()
    start = written.index(b'{"step": 6')
    for length in range(start + 1, len(written) - 1):
        path.write_bytes(written[:length])
        MetricsLog(path).log(6, {"loss/full": 0.75})
        assert lost_rows(path, 6) is None
        assert read_metrics(path)["loss/full"].values.tolist() == [2.5, 1.25, 0.75]


def test_zeros_amid_the_rows_are_told(path: Path) -> None:
    written = bytearray(path.read_bytes())
    written[80:200] = bytes(120)
    path.write_bytes(written)
    with pytest.raises(MetricsError, match=r"metrics\.jsonl, line 1: not a row of metrics"):
        read_metrics(path)


def test_rows_of_an_earlier_version_have_no_seal_and_count(path: Path) -> None:
    old = [json.dumps({"step": step, "time": 1.0, "metrics": {"loss/full": 3.0}}) for step in (1, 2)]
    path.write_text(f"{old[0]}\n{old[1][:30]}\n{path.read_text()}")
    assert read_metrics(path)["loss/full"].steps.tolist() == [1, 2, 4, 6]


@pytest.mark.parametrize(
    "line",
    [
        '{"step": 1, "time": 1.0, "metrics": {"a": 1.0}, "crd": "00000000"}',
        '{"step": 1, "time": 1.0, "metrics": {"a": 1.0}, "crc": "00000000"}',
        '{"step": 1, "time": 1.0, "metrics": {"a": 1.0, "a": 2.0}}',
        '{"step": 1, "time": 1.0, "metrics": {"a": 1.0}',
        '{"step": 1, "time": 1.0, "metrics": {"a": NaN}}',
        '{"step": 1e999, "time": 1.0, "metrics": {}}',
        f'{{"step": {"9" * 5000}, "time": 1.0, "metrics": {{}}}}',
        f'{{"step": 1, "time": 1.0, "metrics": {{"a": {"[" * 10**5 + "]" * 10**5}}}}}',
        '{"step": 1, "time": 1e308, "metrics": {}}',
        '{"step": true, "time": 1.0, "metrics": {}}',
        '{"step": -1, "time": 1.0, "metrics": {}}',
        '{"step": 1, "time": 1.0, "metrics": {"a": "many"}}',
        "\udcff",
    ],
    ids=range(13),
)
def test_what_is_no_row_is_refused_in_few_words(path: Path, line: str) -> None:
    torn = line.endswith('"a": 1.0}')
    path.write_bytes(line.encode(errors="surrogateescape") + b"\n")
    if torn:
        assert read_metrics(path) == {}
        return
    with pytest.raises(MetricsError) as refused:
        read_metrics(path)
    message = str(refused.value).replace(str(path), "")
    assert message.startswith(", line 1: ")
    assert len(message) < 300
    assert message.isprintable()


@pytest.mark.parametrize("use", [read_metrics, last_step, MetricsLog])
def test_a_fifo_in_its_place_is_not_waited_for(path: Path, use: Callable[[Path], object]) -> None:
    path.unlink()
    os.mkfifo(path)
    with pytest.raises((MetricsError, OSError), match="is not a regular file"):
        use(path)
    assert "is not a regular file" in (lost_rows(path, 6) or "")


def test_the_last_step_is_found_behind_long_files(path: Path) -> None:
    log = MetricsLog(path)
    for step in range(7, 700):
        log.log(step, {"loss/full": 1.0, "optim/lr": 0.1})
    assert path.stat().st_size > 1 << 16
    assert last_step(path) == 699
