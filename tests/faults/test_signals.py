"""SIGTERM to the `deepspeed` command alone, to all that it started; shells, terminals and readers that have gone."""

import os
import pty
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.broken_run import STEPS, Run
from tests.support.processes import environment, free_port
from tests.support.progress import steps_logged, wait_for_steps

pytestmark = pytest.mark.distributed

BIN = Path(sys.executable).parent
GONE = "pipeline.train: the deepspeed command is gone: saving and leaving"


def launch(run: Run, *shell: str) -> subprocess.Popen[str]:
    """Start `run` by the `deepspeed` command, in a process group of its own; its output ends when all have left."""
    launched = environment(0, 1, free_port())
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        del launched[name]
    launched["PATH"] = os.pathsep.join([str(BIN), os.environ["PATH"]])
    options = ["--num_gpus", "2", "--no_local_rank", "--master_port", str(free_port())]
    return subprocess.Popen(
        [*shell, str(BIN / "deepspeed"), *options, "--module", *run.command[1:]],
        env=launched,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def long_run(digits: Path, runs: Path) -> Run:
    endless = ("schedule.duration=4000 steps", "checkpoint.every=4000 steps")
    return Run(digits, runs, "launched", 2, *endless, "data.workers=1")


def assert_left_together(run: Run, said: str) -> None:
    [step] = run.saved()
    assert f"stopped by SIGTERM at step {step}/4000, saved; continue with --resume" in said
    assert run.steps_read() == list(range(1, step + 1))
    assert "Traceback" not in said


@pytest.mark.faults
def test_workers_save_and_leave_when_the_deepspeed_command_alone_is_told_to(digits: Path, tmp_path: Path) -> None:
    run = long_run(digits, tmp_path)
    command = launch(run)
    wait_for_steps(run.folder, 5, [command])
    os.kill(command.pid, signal.SIGTERM)
    said, _ = command.communicate(timeout=900)
    assert command.returncode == -signal.SIGTERM
    assert said.count(GONE) == 1, said
    assert_left_together(run, said)


# Makes the standard input what a program is controlled from, as a login does it, and starts the program. The tests may
# have been started with nohup, so that SIGHUP is ignored.
AT_A_TERMINAL = """
import fcntl, os, signal, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_a_run_whose_terminal_is_closed_saves_and_leaves(digits: Path, tmp_path: Path) -> None:
    run = Run(digits, tmp_path, "closed", 1, "schedule.duration=4000 steps", "checkpoint.every=4000 steps")
    ours, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", AT_A_TERMINAL, sys.executable, *run.command],
        env=environment(0, 1, free_port()),
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    while len(steps_logged(run.folder)) < 5:
        assert process.poll() is None
        if select.select([ours], [], [], 0.05)[0]:
            os.read(ours, 65536)  # as a terminal does; one that does not holds the run up
    os.close(ours)
    try:
        assert process.wait(timeout=900) == 128 + signal.SIGHUP
    finally:
        process.kill()
    [step] = run.saved()
    assert run.steps_read() == list(range(1, step + 1))


@pytest.mark.parametrize("output", ["a pipe that was left", pytest.param("a full disk", marks=pytest.mark.faults)])
def test_a_run_whose_output_nobody_takes_trains_on(output: str, digits: Path, tmp_path: Path) -> None:
    run = Run(digits, tmp_path, "unheard", 1)
    if output == "a full disk":
        nobody = os.open("/dev/full", os.O_WRONLY)
    else:
        reader, nobody = os.pipe()
        os.close(reader)
    process = subprocess.Popen(
        [sys.executable, *run.command], env=environment(0, 1, free_port()), stdout=nobody, stderr=nobody
    )
    os.close(nobody)
    try:
        assert process.wait(timeout=900) == 0
    finally:
        process.kill()
    assert run.steps_read() == list(range(1, STEPS + 1))
    assert run.weights()


@pytest.mark.faults
def test_workers_save_and_leave_when_the_whole_process_group_is_told_to(digits: Path, tmp_path: Path) -> None:
    run = long_run(digits, tmp_path)
    command = launch(run)
    wait_for_steps(run.folder, 5, [command])
    os.killpg(command.pid, signal.SIGTERM)
    said, _ = command.communicate(timeout=900)
    assert GONE not in said
    assert_left_together(run, said)


@pytest.mark.faults
def test_a_run_whose_shell_has_gone_trains_on(digits: Path, tmp_path: Path) -> None:
    run = Run(digits, tmp_path, "launched", 2)
    shell = launch(run, "sh", "-c", 'nohup "$0" "$@" & true')
    shell.wait(timeout=900)
    said, _ = shell.communicate(timeout=900)
    assert "done: " in said
    assert GONE not in said
    assert (run.folder / "supernet.safetensors").exists()
