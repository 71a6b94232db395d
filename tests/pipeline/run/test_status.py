"""How far a run is, from its folder alone; and the lock that shows whether a process is training it."""

import json
from pathlib import Path

import pytest

from pipeline.errors import UsageError
from pipeline.run.lock import hold, is_held
from pipeline.run.status import run_status
from pipeline.tracking.ledger import LedgerError
from pipeline.tracking.metrics import MetricsLog
from tests.support.descriptions import DESCRIPTION


def write_run(folder: Path, step: int, price: float | None = None, macs: bool = True) -> Path:
    """A run of 10 steps of 1 MAC and 10 of 4 on two processes, `step` of them done, in 2 × 1000 s, 100 s of it idle."""
    folder.mkdir()
    phases = [{"name": "full model", "start": 0, "end": 10}, {"name": "supernet", "start": 10, "end": 20}]
    if macs:
        phases = [phase | {"macs_per_image": work} for phase, work in zip(phases, (1.0, 4.0), strict=True)]
    started = "2026-11-23T00:00:00+00:00"
    description = {**DESCRIPTION.model_dump(mode="json"), "phases": phases}
    (folder / "run.json").write_text(json.dumps(description))
    segment = {"started": started, "accelerators": 2, "held": 1000.0, "seconds": {"x": 900.0}}
    ledger = {"unit": "GPU hours", "price_per_hour": price, "segments": [segment]}
    (folder / "ledger.json").write_text(json.dumps(ledger))
    log = MetricsLog(folder / "metrics.jsonl")
    for done in range(1, step + 1):
        log.log(done, {"loss/full": 1.0})
    log.close()
    return folder


def test_what_is_left_is_expected_to_cost_as_much_per_mac_as_what_is_done(tmp_path: Path) -> None:
    status = run_status(write_run(tmp_path / "run", step=5, price=3.0))
    assert (status.state, status.step, status.steps, status.unit) == ("stopped", 5, 20, "GPU hours")
    assert status.hours == pytest.approx(2000 / 3600)
    # 5 of 50 MACs took 900 s on two processes; 45 are left.
    assert status.seconds_left == pytest.approx(8100)
    assert status.expected_hours == pytest.approx((2000 + 2 * 8100) / 3600)
    assert status.price_per_hour == 3.0


def test_a_run_begun_before_phases_told_their_macs_is_estimated_by_steps(tmp_path: Path) -> None:
    status = run_status(write_run(tmp_path / "run", step=5, macs=False))
    assert status.seconds_left == pytest.approx(900 * 15 / 5)


def test_a_finished_run_costs_what_it_cost(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", step=20)
    (folder / "supernet.safetensors").touch()
    (folder / "supernet.json").write_text("{}")
    status = run_status(folder)
    assert (status.state, status.step, status.seconds_left) == ("finished", 20, 0)
    assert status.expected_hours == status.hours


def test_before_the_first_step_nothing_is_expected(tmp_path: Path) -> None:
    assert run_status(tmp_path / "nowhere").state == "not begun"
    status = run_status(write_run(tmp_path / "run", step=0))
    assert (status.step, status.expected_hours, status.seconds_left) == (0, None, None)


def test_a_row_torn_by_a_kill_is_passed_over(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", step=7)
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 8, "tim')
    assert run_status(folder).step == 7


def test_a_run_is_running_while_its_lock_is_held_and_nobody_else_may_train_it(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", step=5)
    lock = hold(folder)
    assert is_held(folder)
    assert run_status(folder).state == "running"
    with pytest.raises(UsageError, match="another process is training this run; let it end, or choose another name"):
        hold(folder)
    lock.close()
    assert not is_held(folder)
    hold(folder).close()


@pytest.mark.parametrize("key", ["steps", "phases", "world_size"])
def test_a_damaged_description_is_named(tmp_path: Path, key: str) -> None:
    run = write_run(tmp_path / "run", step=5)
    description = json.loads((run / "run.json").read_text())
    del description[key]
    (run / "run.json").write_text(json.dumps(description))
    with pytest.raises(UsageError, match=r"run/run\.json: is damaged: not the description of a run"):
        run_status(run)


def test_damaged_notes_of_what_was_held_are_named(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", step=5)
    (run / "held.txt").write_bytes(b"1795392000 179539\xff\n")
    with pytest.raises(LedgerError, match=r"run/held\.txt: '1795392000 179539.' is not two times in Unix seconds"):
        run_status(run)
