"""A process that is killed or hangs is named by the others, which end; one that was started otherwise is refused."""

import os
import re
import shutil
import signal
import time
from pathlib import Path

import pytest

from tests.support.processes import REPOSITORY, Program, small_run, start
from tests.support.progress import wait_for_steps

pytestmark = pytest.mark.distributed

# Long enough that a loaded machine is no hang, short enough to wait for.
LOST_AFTER = 10
HANGS = 500  # seconds, after which something does; of a collective operation, gloo itself would say so after 600


def begun(digits: Path, runs: Path, world: int, *overrides: str) -> list[Program]:
    """Processes of a run that has trained a few steps."""
    engine = f"engine={{name: ddp, lost_after: {LOST_AFTER}}}"
    arguments = [*small_run(digits, runs), engine, "batch_size=12", "name=lost", *overrides]
    processes = start(["-m", "pipeline.train", *arguments], world)
    wait_for_steps(runs / "lost", 3, processes)
    return processes


def ended(processes: list[Program], but: int) -> tuple[list[int], list[str], float]:
    """Exit codes and outputs of all but one process, and the seconds until they had ended."""
    began = time.monotonic()
    others = [process for rank, process in enumerate(processes) if rank != but]
    outputs = [process.communicate(timeout=HANGS)[0] for process in others]
    processes[but].kill()
    processes[but].communicate()
    return [process.returncode for process in others], outputs, time.monotonic() - began


@pytest.mark.parametrize(("victim", "world"), [(0, 2), (1, 2), (2, 3)])
def test_the_others_end_and_name_the_process_that_was_killed(
    digits: Path, tmp_path: Path, victim: int, world: int
) -> None:
    # What read ahead for it may live a moment longer, and must not hold its connections.
    processes = begun(digits, tmp_path, world, f"data.workers={int(victim == 1)}")
    os.kill(processes[victim].pid, signal.SIGKILL)
    codes, outputs, _ = ended(processes, but=victim)
    assert codes == [1] * (world - 1), outputs
    said = "".join(outputs)
    assert "Traceback" not in said
    told = [line for line in said.splitlines() if line.startswith("pipeline.train:")]
    assert len(told) == 1, said
    assert f"process {victim} on " in told[0]
    assert "continue from its last checkpoint with --resume" in told[0]


@pytest.mark.parametrize("victim", [0, 1])
def test_the_others_end_and_name_the_process_that_hangs(digits: Path, tmp_path: Path, victim: int) -> None:
    processes = begun(digits, tmp_path, 2)
    os.kill(processes[victim].pid, signal.SIGSTOP)
    codes, outputs, seconds = ended(processes, but=victim)
    assert codes == [1], outputs
    assert seconds > LOST_AFTER / 2
    assert f"process {victim} on " in outputs[0]
    assert "Traceback" not in outputs[0]


@pytest.mark.faults
def test_a_process_that_only_pauses_is_not_given_up(digits: Path, tmp_path: Path) -> None:
    processes = begun(digits, tmp_path, 2)
    os.kill(processes[1].pid, signal.SIGSTOP)
    time.sleep(LOST_AFTER / 3)
    os.kill(processes[1].pid, signal.SIGCONT)
    outputs = [process.communicate(timeout=HANGS)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs


@pytest.mark.faults
def test_a_run_that_was_suspended_as_a_whole_goes_on(digits: Path, tmp_path: Path) -> None:
    """As by `scontrol suspend`, or where the machine sleeps: the silence was this process's own."""
    processes = begun(digits, tmp_path, 2)
    for process in processes:
        os.kill(process.pid, signal.SIGSTOP)
    time.sleep(1.5 * LOST_AFTER)
    for process in processes:
        os.kill(process.pid, signal.SIGCONT)
        time.sleep(3)  # nodes do not wake at the same time
    outputs = [process.communicate(timeout=HANGS)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs


def test_a_process_with_another_recipe_is_refused_before_anything_is_written(digits: Path, tmp_path: Path) -> None:
    command = ["-m", "pipeline.train", *small_run(digits, tmp_path), "engine={name: ddp}", "name=torn"]
    processes = start(command, 2, each=[[], ["seed=5"]])
    outputs = [process.communicate(timeout=HANGS)[0] for process in processes]
    assert [process.returncode for process in processes] == [2, 2], outputs
    assert "process 1 on " in outputs[0]
    assert "has seed=5, process 0 on " in outputs[0]
    assert "has seed=0: start all processes of a run with the same code" in outputs[0]
    assert not (tmp_path / "torn").exists()


def test_a_process_with_other_code_is_refused_before_anything_is_written(digits: Path, tmp_path: Path) -> None:
    """As on a node whose checkout is older; a comment is difference enough."""
    other = tmp_path / "checkout"
    for package in ("pipeline", "kernels", "data_shards", "cluster"):
        shutil.copytree(REPOSITORY / package, other / package, ignore=shutil.ignore_patterns("__pycache__"))
    with (other / "pipeline" / "methods" / "losses.py").open("a") as source:
        source.write("# as it was before\n")
    program = "import sys; sys.path.insert(0, sys.argv.pop()); from pipeline.train import main; main()"
    command = ["-c", program, *small_run(digits, tmp_path), "engine={name: ddp}", "name=torn"]
    processes = start(command, 2, each=[[str(REPOSITORY)], [str(other)]], fresh=True)
    outputs = [process.communicate(timeout=HANGS)[0] for process in processes]
    assert [process.returncode for process in processes] == [2, 2], outputs
    told = r"process 1 on \S+ has code=(\w{12}), process 0 on \S+ has code=(\w{12}): start all processes of a run with "
    found = re.search(told, outputs[0])
    assert found, outputs
    assert found[1] != found[2]
    assert not (tmp_path / "torn").exists()
