"""The metrics file keeps every figure, through kills and resumes."""

import json
import math
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from pipeline.tracking.metrics import MetricsError, MetricsLog, lost_rows, read_metrics


@pytest.fixture
def path(tmp_path):
    return tmp_path / "metrics.jsonl"


def test_what_is_logged_is_read_back_by_name(path):
    log = MetricsLog(path)
    log.log(1, {"loss/full": 2.5, "optim/lr": 0.1})
    log.log(2, {"loss/full": 2.0})
    metrics = read_metrics(path)
    assert set(metrics) == {"loss/full", "optim/lr"}
    steps, values, times = metrics["loss/full"]
    assert steps.tolist() == [1, 2]
    assert values.tolist() == [2.5, 2.0]
    assert np.all(np.diff(times) >= 0)
    assert times[0] > 1.6e9


def test_a_row_is_in_the_file_as_soon_as_it_is_logged(path):
    code = (
        "import os, signal, sys, pathlib; from pipeline.tracking.metrics import MetricsLog\n"
        "MetricsLog(pathlib.Path(sys.argv[1])).log(7, {'loss/full': 1.0})\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert read_metrics(path)["loss/full"].steps.tolist() == [7]


def test_values_that_are_not_finite_keep_the_file_strict_json(path):
    MetricsLog(path).log(1, {"a": math.nan, "b": math.inf, "c": -math.inf})

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    row = json.loads(path.read_text(), parse_constant=refuse)
    assert row["metrics"] == {"a": "nan", "b": "inf", "c": "-inf"}
    metrics = read_metrics(path)
    assert math.isnan(metrics["a"].values[0])
    assert metrics["b"].values[0] == math.inf
    assert metrics["c"].values[0] == -math.inf


def test_after_a_resume_from_an_earlier_checkpoint_the_last_row_of_a_step_holds(path):
    log = MetricsLog(path)
    for step in (10, 20, 30):
        log.log(step, {"loss/full": float(step)})
    log.close()
    resumed = MetricsLog(path)
    for step in (20, 30, 40):
        resumed.log(step, {"loss/full": step + 0.5})
    steps, values, _ = read_metrics(path)["loss/full"]
    assert steps.tolist() == [10, 20, 30, 40]
    assert values.tolist() == [10, 20.5, 30.5, 40.5]


def test_steps_are_ascending_also_when_a_resumed_run_measures_at_others(path):
    log = MetricsLog(path)
    for step in (10, 20, 15):
        log.log(step, {"loss/full": float(step)})
    assert read_metrics(path)["loss/full"].steps.tolist() == [10, 15, 20]
    assert read_metrics(path)["loss/full"].values.tolist() == [10, 15, 20]


@pytest.mark.parametrize("cut", [1, 5, 12, 40, -2])
def test_a_row_torn_by_a_kill_loses_itself_alone(path, cut):
    log = MetricsLog(path)
    log.log(1, {"loss/full": 1.0})
    whole = path.stat().st_size
    log.log(2, {"loss/full": 2.0})
    log.close()
    os.truncate(path, whole + cut if cut > 0 else path.stat().st_size + cut)
    assert read_metrics(path)["loss/full"].steps.tolist() == [1]
    MetricsLog(path).log(3, {"loss/full": 3.0})
    assert read_metrics(path)["loss/full"].steps.tolist() == [1, 3]


@pytest.mark.parametrize("kept", [0, 7, 40])
def test_zeros_that_a_loss_of_power_left_cost_no_row_but_their_own(path, kept):
    log = MetricsLog(path)
    for step in (1, 2):
        log.log(step, {"loss/full": 1.0})
    log.close()
    rows = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(rows[0] + rows[1][:kept] + bytes(4096))
    assert lost_rows(path, 1) is None
    log = MetricsLog(path)
    for step in (2, 3):
        log.log(step, {"loss/full": 2.0})
    log.close()
    steps, values, _ = read_metrics(path)["loss/full"]
    assert (steps.tolist(), values.tolist()) == ([1, 2, 3], [1.0, 2.0, 2.0])


def test_a_row_that_only_lacks_its_line_end_is_kept(path):
    log = MetricsLog(path)
    log.log(1, {"loss/full": 1.0})
    log.close()
    os.truncate(path, path.stat().st_size - 1)
    MetricsLog(path).log(2, {"loss/full": 2.0})
    assert read_metrics(path)["loss/full"].steps.tolist() == [1, 2]


@pytest.mark.parametrize("line", ["step,loss", '{"step": 1}', '{"step": "x", "time": 0, "metrics": {}}', "[1]", "3"])
def test_a_file_that_is_something_else_is_named_with_its_line(path, line):
    log = MetricsLog(path)
    log.log(1, {"a": 1.0})
    log.close()
    with path.open("a") as file:
        file.write(line + "\n")
    with pytest.raises(MetricsError, match=r"metrics\.jsonl, line 2"):
        read_metrics(path)


def test_a_file_that_ends_before_the_checkpoint_taken_up_is_told(path):
    assert lost_rows(path, 0) is None
    assert lost_rows(path, 4) == f"{path}: ends at step 0; what was measured from there to step 4 is lost"
    log = MetricsLog(path)
    for step in (1, 2, 4):
        log.log(step, {"loss/full": 1.0})
    assert lost_rows(path, 4) is None
    path.write_bytes(path.read_bytes()[:-1])
    assert lost_rows(path, 4) is None, "the row is whole but for its end, which opening the file adds"
    path.write_bytes(path.read_bytes()[:-2])  # within the row of step 4
    assert lost_rows(path, 4) == f"{path}: ends at step 2; what was measured from there to step 4 is lost"
    path.write_bytes(path.read_bytes() + b"\nsomething else\n")
    complaint = lost_rows(path, 4) or ""
    assert complaint.startswith(f"{path}, line 4: not a row of metrics, ")
    assert complaint.endswith(": 'something else'; restore it from a copy, or remove the line")
