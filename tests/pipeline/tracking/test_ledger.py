"""The ledger counts what was held, once, over all starts of a run."""

import errno
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict

import pytest

from pipeline.tracking import ledger as ledger_module
from pipeline.tracking.ledger import (
    CPU_PROCESS_HOURS,
    GPU_HOURS,
    Ledger,
    LedgerError,
    LedgerRecord,
    held_since,
    process_start_time,
    read_ledger,
    unit_for,
)


class Clock:
    """Stands in for the `time` module; the wall clock and the monotonic one run apart on purpose."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return 5000.0 + self.now

    def time(self):
        return 1_700_000_000.0 + self.now

    def pass_(self, seconds):
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(ledger_module, "time", clock)
    return clock


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.json"


def new_ledger(path, clock, accelerators=4, price=2.0, unit=GPU_HOURS):
    return Ledger(path, accelerators, unit, price, held_since=clock.time())


def test_hours_are_accelerators_times_time_held_whether_used_or_not(path, clock):
    ledger = new_ledger(path, clock)
    clock.pass_(1800)
    assert ledger.record().hours == pytest.approx(2.0)
    assert ledger.record().dollars == pytest.approx(4.0)
    assert ledger.record().hours_by_category() == pytest.approx({"idle": 2.0})


def test_the_time_before_the_ledger_was_made_is_charged(path, clock):
    ledger = Ledger(path, 2, GPU_HOURS, None, held_since=clock.time() - 3600)
    assert ledger.record().hours == pytest.approx(2.0)


def test_a_nested_charge_pauses_the_outer_one(path, clock):
    ledger = new_ledger(path, clock, accelerators=1)
    with ledger.charge("supernet"):
        clock.pass_(100)
        with ledger.charge("evaluation"):
            clock.pass_(30)
            with ledger.charge("data_wait"):
                clock.pass_(5)
            clock.pass_(1)
        clock.pass_(10)
    clock.pass_(7)
    hours = ledger.record().hours_by_category()
    seconds = {name: value * 3600 for name, value in hours.items()}
    assert seconds == pytest.approx({"supernet": 110, "evaluation": 31, "data_wait": 5, "idle": 7})
    assert sum(hours.values()) == pytest.approx(ledger.record().hours)


def test_a_charge_that_ends_in_an_error_is_still_charged(path, clock):
    ledger = new_ledger(path, clock, accelerators=1)

    def fails():
        with ledger.charge("ramp"):
            clock.pass_(60)
            raise FloatingPointError

    with pytest.raises(FloatingPointError):
        fails()
    clock.pass_(60)
    assert ledger.record().hours_by_category() == pytest.approx({"ramp": 1 / 60, "idle": 1 / 60})


def test_what_was_saved_survives_a_kill_in_the_middle_of_a_charge(path, clock):
    ledger = new_ledger(path, clock, accelerators=2)
    with ledger.charge("full_model"):
        clock.pass_(90)
        ledger.save()
        saved = read_ledger(path)
        clock.pass_(1000)  # and here the process dies
    assert saved.hours == pytest.approx(2 * 90 / 3600)
    assert saved.hours_by_category()["full_model"] == pytest.approx(2 * 90 / 3600)


def test_restarts_add_up_also_with_another_number_of_accelerators(path, clock):
    first = new_ledger(path, clock, accelerators=8)
    with first.charge("full_model"):
        clock.pass_(3600)
    first.save()
    clock.pass_(86400)  # the queue costs nothing
    second = new_ledger(path, clock, accelerators=2)
    with second.charge("full_model"):
        clock.pass_(1800)
    second.save()
    third = new_ledger(path, clock, accelerators=1)
    assert third.record().hours == pytest.approx(9.0)
    assert third.record().hours_by_category() == pytest.approx({"full_model": 9.0, "idle": 0.0})
    assert sum(segment.held for segment in third.record().segments) == pytest.approx(5400)
    assert [segment.accelerators for segment in third.record().segments] == [8, 2, 1]


def test_saving_twice_counts_once(path, clock):
    ledger = new_ledger(path, clock, accelerators=1)
    for _ in range(3):
        clock.pass_(60)
        ledger.save()
    assert read_ledger(path).hours == pytest.approx(3 / 60)
    assert len(read_ledger(path).segments) == 1


def test_a_clock_correction_changes_nothing(path, clock, monkeypatch):
    ledger = new_ledger(path, clock, accelerators=1)
    clock.pass_(60)
    monkeypatch.setattr(clock, "time", lambda: 0.0)
    assert ledger.record().hours == pytest.approx(1 / 60)


def test_without_a_price_there_are_no_dollars_and_a_price_once_given_is_kept(path, clock):
    ledger = new_ledger(path, clock, price=None)
    assert ledger.record().dollars is None
    ledger.save()
    new_ledger(path, clock, price=3.0).save()
    clock.pass_(3600)
    kept = new_ledger(path, clock, accelerators=1, price=None)
    clock.pass_(3600)
    assert kept.record().dollars == pytest.approx(3.0)


def test_cpu_process_hours_never_become_gpu_hours(path, clock):
    assert unit_for("cuda") == GPU_HOURS
    assert unit_for("cpu") == CPU_PROCESS_HOURS
    with pytest.raises(ValueError, match="tpu"):
        unit_for("tpu")
    new_ledger(path, clock, unit=CPU_PROCESS_HOURS).save()
    with pytest.raises(LedgerError, match=r"CPU process hours.*GPU hours"):
        new_ledger(path, clock, unit=GPU_HOURS)


def test_the_metrics_name_the_unit_and_split_the_hours(path, clock):
    ledger = new_ledger(path, clock)
    with ledger.charge("full model"):
        clock.pass_(1800)
    with ledger.charge("data_wait"):
        clock.pass_(900)
    clock.pass_(900)
    ledger.count(5_000)
    ledger.count(2_000)
    metrics = ledger.record().metrics()
    split = {"cost/split/full_model": 2.0, "cost/split/data_wait": 1.0, "cost/split/idle": 1.0}
    assert metrics == pytest.approx({"cost/gpu_hours": 4.0, **split, "cost/dollars": 8.0, "cost/training_macs": 7000})

    on_cpus = Ledger(path, 2, CPU_PROCESS_HOURS, None, held_since=clock.time() - 3600)
    hours = {"cost/cpu_process_hours": 2.0, "cost/split/idle": 2.0}
    assert on_cpus.record().metrics() == pytest.approx({**hours, "cost/training_macs": 0})


def test_macs_are_counted_exactly_over_all_starts_unless_one_did_not_count_them(path, clock):
    many = 3 * 10**20 + 1  # no float holds it
    for _ in range(2):
        ledger = new_ledger(path, clock)
        ledger.count(many)
        ledger.save()
    assert read_ledger(path).training_macs == 2 * many
    content = json.loads(path.read_text())
    del content["checksum"], content["segments"][0]["training_macs"]
    path.write_text(json.dumps(content))
    assert read_ledger(path).training_macs is None
    assert "cost/training_macs" not in new_ledger(path, clock).record().metrics()
    content["segments"][1]["training_macs"] = "-1"
    path.write_text(json.dumps(content))
    with pytest.raises(LedgerError, match="impossible value"):
        read_ledger(path)


def test_a_file_that_got_lost_is_replaced_by_the_copy_of_a_checkpoint(path, clock):
    first = new_ledger(path, clock, accelerators=1)
    with first.charge("ramp"):
        clock.pass_(3600)
    copy = LedgerRecord.from_json(json.loads(json.dumps(asdict(first.record()))))
    clock.pass_(3600)
    first.save()

    def resumed(price=None, unit=GPU_HOURS):
        return Ledger(path, 1, unit, price, held_since=clock.time(), earlier=copy)

    assert resumed().record().hours == pytest.approx(2.0)  # the file knows more than the copy
    path.unlink()
    assert resumed().record().hours_by_category() == pytest.approx({"ramp": 1.0, "idle": 0.0})
    assert resumed().record().dollars == pytest.approx(2.0)
    with pytest.raises(LedgerError, match=r"GPU hours.*CPU process hours"):
        resumed(unit=CPU_PROCESS_HOURS)


SEGMENT = {"started": "x", "accelerators": 1, "held": 1.0, "seconds": {}}


@pytest.mark.parametrize(
    "content",
    [
        "",
        '{"unit": "GPU ho',
        "[]",
        '{"unit": "GPU hours", "price_per_hour": null}',
        '{"unit": "hours", "price_per_hour": null, "segments": []}',
        json.dumps({"unit": "GPU hours", "price_per_hour": None, "segments": [{**SEGMENT, "held": -1}]}),
        json.dumps({"unit": "GPU hours", "price_per_hour": None, "segments": [{**SEGMENT, "held": float("nan")}]}),
        json.dumps({"unit": "GPU hours", "price_per_hour": None, "segments": [{**SEGMENT, "accelerators": 0}]}),
        json.dumps({"unit": "GPU hours", "price_per_hour": None, "segments": [{**SEGMENT, "seconds": {"a": "b"}}]}),
    ],
)
def test_a_corrupt_ledger_is_named_and_never_taken_for_zero(path, clock, content):
    path.write_text(content)
    for open_it in (lambda: read_ledger(path), lambda: new_ledger(path, clock)):
        with pytest.raises(LedgerError) as caught:
            open_it()
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
    assert path.read_text() == content


@pytest.mark.parametrize("content", [None, [], {"unit": "GPU hours"}, {"unit": ["GPU hours"]}])
def test_a_copy_that_is_no_ledger_is_refused_as_one(content):
    with pytest.raises(LedgerError, match="not a readable ledger"):
        LedgerRecord.from_json(content)


def test_a_missing_ledger_is_an_error_for_reports(path):
    with pytest.raises(LedgerError, match="No such file"):
        read_ledger(path)


def test_a_failed_save_leaves_the_last_good_ledger(path, clock, monkeypatch):
    ledger = new_ledger(path, clock)
    clock.pass_(60)
    ledger.save()
    before = path.read_text()

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device") as failure:
        ledger.save()
    assert failure.value.filename == str(path)
    assert path.read_text() == before


def test_the_process_start_time_includes_what_ran_before_this_module():
    code = (
        "import time; time.sleep(1.5)\n"
        "from pipeline.tracking.ledger import process_start_time\nprint(time.time() - process_start_time())"
    )
    started = time.time()
    age = float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)
    assert 1.0 < age < time.time() - started + 1.1  # the system gives its start to a second
    assert process_start_time() < time.time()


def test_a_job_tells_since_when_it_holds_its_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DEPS_HELD_SINCE", raising=False)
    assert held_since() == process_start_time()
    monkeypatch.setenv("DEPS_HELD_SINCE", "1700000000")
    assert held_since() == 1_700_000_000
    for nonsense in ("yesterday", "nan", "-5", "9e9"):
        monkeypatch.setenv("DEPS_HELD_SINCE", nonsense)
        with pytest.raises(LedgerError, match=f"DEPS_HELD_SINCE: '{nonsense}' is no Unix time in seconds that is past"):
            held_since()


def test_a_start_is_charged_to_the_end_that_its_job_noted(path, clock):
    first = Ledger(path, 2, CPU_PROCESS_HOURS, None, held_since=1_700_000_000)
    clock.pass_(30)
    first.save()
    saved = read_ledger(path).segments[0].held
    assert saved == 30
    note = path.with_name("held.txt")
    note.write_text(f"1700000000 {1_700_000_000 + int(saved) + 50}\n1600000000 1600000005\n")
    assert read_ledger(path).segments[0].held == int(saved) + 50
    second = Ledger(path, 2, CPU_PROCESS_HOURS, None, held_since=1_700_009_000)
    assert second.record().segments[0].held == int(saved) + 50
    note.write_text("1700000000 1700000001\n")  # never less than the ledger itself knows of
    assert read_ledger(path).segments[0].held == saved


@pytest.mark.parametrize("line", ["1700000000", "1700000000 soon", "1 2 4", "nan nan"])
def test_a_note_that_is_none_is_named(path, clock, line):
    Ledger(path, 1, CPU_PROCESS_HOURS, None, held_since=1_700_000_000).save()
    path.with_name("held.txt").write_text(f"{line}\n")
    with pytest.raises(LedgerError, match=r"held\.txt: '.*' is not two times in Unix seconds"):
        read_ledger(path)
