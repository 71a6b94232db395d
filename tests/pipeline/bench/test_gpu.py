"""`deps bench gpu`: parts that pass, fail, hang or lack something, their page, and that each command is understood."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from pipeline.bench import gpu
from pipeline.bench.suite import told
from pipeline.bench.suite.gpu_parts import ROOT, gpu_parts
from pipeline.bench.suite.part import Outcome, Part
from pipeline.bench.suite.running import run_parts
from tests.support.command_line import deps, refused
from tests.support.processes import small_run

WRITES = "print('found')"
FAILS = "import sys; print('found'); sys.exit('what went wrong')"
# Starts a process of its group and one of its own session, tells their numbers, and hangs.
HANGS = """
import subprocess, sys, time
sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
print(subprocess.Popen(sleep).pid, subprocess.Popen(sleep, start_new_session=True).pid, flush=True)
time.sleep(600)
"""
# Ends by itself, but leaves somebody behind.
LEAVES = """
import subprocess, sys
print(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]).pid)
"""


def part(name: str, program: str, limit: float = 100, **more: Any) -> Part:
    output = f"{name}.txt"
    return Part(name, (sys.executable, "-c", program), limit, output, lambda folder: lines(folder / output), **more)


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def outcomes(parts: list[Part], folder: Path) -> dict[str, Outcome]:
    return {part.name: outcome for part, outcome in run_parts(parts, folder, folder)}


def gone(process: int) -> bool:
    """Whether a process has ended; one that was killed takes a moment."""
    for _ in range(3000):
        if not psutil.pid_exists(process) or psutil.Process(process).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.01)
    return False


def test_what_passes_fails_or_lacks_something_stops_no_other(tmp_path: Path) -> None:
    parts = [
        part("fails", FAILS),
        part("crashes", "import os; os.abort()"),
        part("lacks", WRITES, lacks=lambda: "there is no such thing here"),
        part("needy", WRITES, needs="fails"),
        part("silent", ""),
        part("passes", WRITES),
        part("after", WRITES, needs="passes"),
    ]
    found = outcomes(parts, tmp_path)
    assert {name: (each.status, each.why, each.found) for name, each in found.items()} == {
        "fails": ("failed", "exit code 1: what went wrong", ["found"]),
        "crashes": ("failed", "ended by signal 6", []),
        "lacks": ("skipped", "there is no such thing here", ()),
        "needy": ("skipped", "fails did not pass", ()),
        "silent": ("failed", "left no figures", ()),
        "passes": ("passed", "", ["found"]),
        "after": ("passed", "", ["found"]),
    }
    assert (tmp_path / "fails.log").read_text() == "what went wrong\n"


def test_a_part_over_its_limit_is_killed_with_all_that_it_started(tmp_path: Path) -> None:
    for limit in (2, 8, 32, 128):  # as long as it takes to start, and no test waits for more
        found = outcomes([part("hangs", HANGS, limit), part("passes", WRITES)], tmp_path)
        assert (found["hangs"].status, found["hangs"].why) == ("timed out", f"killed after {limit} s")
        assert found["passes"].status == "passed"
        if started := [int(number) for line in found["hangs"].found for number in line.split()]:
            break
    assert len(started) == 2
    assert all(gone(process) for process in started)


def test_what_a_part_leaves_behind_ends_with_it(tmp_path: Path) -> None:
    found = outcomes([part("leaves", LEAVES)], tmp_path)
    assert found["leaves"].status == "passed"
    assert gone(int(found["leaves"].found[0]))


@pytest.fixture
def on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """As if there were one; with other parts in place of the real ones."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA X-1")
    place = gpu.place
    monkeypatch.setattr(gpu, "place", lambda device, packages: place(torch.device("cpu"), packages))
    return lambda *parts: monkeypatch.setattr(gpu, "gpu_parts", lambda results, scratch: list(parts))


def test_the_page_tells_of_every_part_and_the_exit_code_of_failures(on_a_gpu: Any, tmp_path: Path) -> None:
    on_a_gpu(part("passes", WRITES), part("fails", FAILS), part("lacks", WRITES, lacks=lambda: "no such thing"))
    done = deps("bench", "gpu", "--output", tmp_path)
    assert "bench gpu: fails failed: see " in refused(done, code=1)
    (folder,) = tmp_path.iterdir()
    assert folder.name.startswith("nvidia_x_1_20")
    page = (folder / "summary.md").read_text()
    assert page.startswith("# NVIDIA X-1, 20")
    assert f"torch {torch.__version__}" in page
    assert "**1 passed, 1 failed, 1 skipped**" in page
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("|")]
    assert [(row[0], row[1], row[3], row[4]) for row in rows[2:]] == [
        ("[passes](passes.log)", "passed", "100", ""),
        ("[fails](fails.log)", "failed", "100", "exit code 1: what went wrong"),
        ("lacks", "skipped", "100", "no such thing"),
    ]
    assert "## passes\n\nfound\n" in page
    assert done.stdout.splitlines()[-1] == f"1 passed, 1 failed, 1 skipped: see {folder / 'summary.md'}"


def test_where_nothing_fails_the_exit_code_is_0_and_json_says_the_same(on_a_gpu: Any, tmp_path: Path) -> None:
    on_a_gpu(part("passes", WRITES), part("lacks", WRITES, lacks=lambda: "no such thing"))
    done = deps("bench", "gpu", "--output", tmp_path, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert [(each["part"], each["status"], each["why"]) for each in found["parts"]] == [
        ("passes", "passed", ""),
        ("lacks", "skipped", "no such thing"),
    ]
    assert Path(found["folder"]).parent == tmp_path
    assert found["versions"]["torch"] == torch.__version__


def test_what_was_found_before_it_was_ended_is_on_the_page(on_a_gpu: Any, tmp_path: Path) -> None:
    def interrupted() -> str | None:
        raise KeyboardInterrupt

    on_a_gpu(part("passes", WRITES), part("ended", WRITES, lacks=interrupted))
    assert deps("bench", "gpu", "--output", tmp_path).returncode != 0
    (page,) = tmp_path.glob("*/summary.md")
    assert "| [passes](passes.log) | passed |" in page.read_text()
    assert "| ended | skipped | 0 | 100 | not run yet |" in page.read_text()


def test_without_a_gpu_that_is_all_it_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    done = deps("bench", "gpu", "--output", tmp_path)
    assert refused(done) == "deps: bench gpu: needs a GPU that torch can use, and there is none; nothing was run"
    assert not list(tmp_path.iterdir())


def test_a_dry_run_lists_the_parts_whose_limits_leave_room_in_25_minutes() -> None:
    done = deps("bench", "gpu", "--dry-run", "--json")
    assert done.returncode == 0
    found = json.loads(done.stdout)
    names = ["tests", "kernels_128", "kernels_256", "step_128", "step_256", "data", "training_dali", "training_python"]
    assert [each["part"] for each in found["parts"]] == names
    assert found["limit_seconds"] == sum(each["limit_seconds"] for each in found["parts"])
    assert found["limit_seconds"] + 60 < 25 * 60
    for line, each in zip(deps("bench", "gpu", "--dry-run").stdout.splitlines(), found["parts"], strict=False):
        assert line == f"{each['part']}, at most {each['limit_seconds']:g} s: {each['command']}"


def test_a_folder_is_named_by_gpu_and_date() -> None:
    name = gpu.folder_name("NVIDIA H100 80GB HBM3", datetime(2026, 11, 29, 14, 5))
    assert name == "nvidia_h100_80gb_hbm3_2026-11-29_1405"


# The commands of the real parts.


def real(name: str, folder: Path) -> Part:
    return next(each for each in gpu_parts(folder, folder) if each.name == name)


def arguments(part: Part) -> list[str]:
    """Of `deps`."""
    assert part.command[1:3] == ("-m", "deps_command")
    return list(part.command[3:])


@pytest.mark.parametrize("name", ["kernels_128", "kernels_256", "step_128", "step_256", "data"])
def test_commands_have_only_options_that_there_are(name: str, tmp_path: Path) -> None:
    done = deps(*arguments(real(name, tmp_path)), "--help")
    assert done.returncode == 0
    assert "Usage: deps" in done.stdout


@pytest.mark.parametrize("name", ["training_dali", "training_python"])
def test_recipes_of_trainings_are_accepted(name: str, tmp_path: Path) -> None:
    done = deps(*arguments(real(name, tmp_path)), "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["steps"] == 1250


def test_the_command_of_the_tests_finds_those_of_the_gpu(tmp_path: Path) -> None:
    command = [*real("tests", tmp_path).command[:-1], "--collect-only", "tests/gpu"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "tests/gpu/test_step.py::" in done.stdout


# What is told of their output.


def test_of_tests_the_page_names_those_that_failed_and_why_others_were_left_out(tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text(
        "import pytest\n"
        "def test_right(): pass\n"
        "def test_wrong(): assert False\n"
        "@pytest.mark.skip(reason='no second GPU')\n"
        "@pytest.mark.parametrize('n', [1, 2])\n"
        "def test_left(n): pass\n"
    )
    report = tmp_path / "tests.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", "test_some.py"]
    subprocess.run(command, cwd=tmp_path, capture_output=True)
    assert told.tests(report) == [
        "1 tests passed, 1 failed, 2 were left out.",
        "- failed: `test_some::test_wrong`",
        "- left out, 2: no second GPU",
    ]
    report.write_text(report.read_text()[:100])
    with pytest.raises(ValueError, match=r"tests\.xml"):
        told.tests(report)


def test_of_a_training_it_tells_speed_waits_and_accuracy(digits: Path, tmp_path: Path) -> None:
    steps = ["schedule.duration=4 steps", "schedule.full_model_warmup=2 steps", "schedule.epsilon_ramp=1 steps"]
    done = deps("train", *small_run(digits, tmp_path), "engine={name: single}", *steps, "name=run")
    assert done.returncode == 0, done.stderr
    (line,) = told.training(tmp_path / "run")
    assert line.startswith("4 steps; ")
    assert "% of the time waiting for data" in line
    assert "held-out accuracy: full " in line


def test_an_output_that_is_not_whole_is_none(tmp_path: Path) -> None:
    (tmp_path / "step.json").write_text('{"contenders": [')
    with pytest.raises(ValueError, match="Expecting"):
        told.steps(tmp_path / "step.json")
    with pytest.raises(OSError, match="nowhere"):
        told.operations(tmp_path / "nowhere.json")
