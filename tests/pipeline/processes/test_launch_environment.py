"""What launchers set in the environment: wrong values are told in one line, by one process, before any waits."""

import os
import socket
import sys

import pytest

from pipeline import train
from pipeline.errors import RunFailure, UsageError
from pipeline.processes.environment import has_a_spokesman, place
from pipeline.processes.group import Processes, launched_processes
from tests.support.command_line import REPOSITORY

NAMES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
SLURM = ("SLURM_PROCID", "SLURM_LOCALID", "SLURM_STEP_NUM_TASKS")
TWO = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in (*NAMES, *SLURM):
        monkeypatch.setenv(name, "")  # so that what the code sets is undone
        monkeypatch.delenv(name)
    return monkeypatch


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        *(({"RANK": text}, "RANK: '") for text in ("abc", "", "-1", "1.0", "٣", "9" * 5000, "1\n2")),
        *(({"WORLD_SIZE": text}, "WORLD_SIZE: '") for text in ("abc", "0", "-1", "10000000")),
        ({"LOCAL_RANK": "x"}, "LOCAL_RANK: 'x' is no whole number from 0 to"),
        ({"RANK": "1"}, "RANK=1, WORLD_SIZE=1: ranks are 0 to WORLD_SIZE - 1"),
        ({**TWO, "RANK": "2"}, "RANK=2, WORLD_SIZE=2: ranks are 0 to WORLD_SIZE - 1"),
        ({"WORLD_SIZE": "2"}, "2 processes need RANK and MASTER_ADDR and MASTER_PORT; start them with deepspeed or"),
        ({**TWO, "MASTER_ADDR": ""}, "2 processes need MASTER_ADDR; "),
        *(({**TWO, "MASTER_PORT": text}, "MASTER_PORT: '") for text in ("abc", "0", "65536")),
    ],
)
def test_what_is_wrong_is_told_in_one_line_by_this_process(
    given: dict[str, str],
    complaint: str,
    environment: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: os.PathLike[str],
) -> None:
    for name, value in given.items():
        environment.setenv(name, value)
    with pytest.raises(UsageError) as told, launched_processes():
        pass
    assert complaint in str(told.value)
    recipe, elsewhere = str(REPOSITORY / "recipes" / "digits.yaml"), f"runs={tmp_path}"
    environment.setattr(sys, "argv", ["train.py", recipe, elsewhere, "engine={name: ddp}"])
    with pytest.raises(SystemExit) as ended:
        train.main()
    errors = capsys.readouterr().err
    assert (ended.value.code, len(errors.splitlines())) == (2, 1)
    assert complaint in errors or len(errors) > 250
    assert len(errors) <= 301


def test_of_the_tasks_of_a_step_one_tells_of_ranks_that_are_none(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("RANK", "abc")
    told = []
    for task in ("0", "1", "2"):
        environment.setenv("SLURM_PROCID", task)
        environment.setenv("SLURM_STEP_NUM_TASKS", "3")
        told.append(not has_a_spokesman())
    assert told == [True, False, False]


@pytest.mark.parametrize(("rank", "tells"), [("0", True), ("1", False)])
def test_of_what_all_meet_the_first_tells(rank: str, tells: bool, environment: pytest.MonkeyPatch) -> None:
    for name, value in {**TWO, "RANK": rank}.items():
        environment.setenv(name, value)
    assert place()[:2] == (int(rank), 2)
    assert has_a_spokesman() is not tells


def test_a_mistake_that_only_another_process_meets_is_told_by_that_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise UsageError("no shards at data/digits")

    second = Processes(1, 2, device=None)  # type: ignore[arg-type]
    monkeypatch.setattr(Processes, "highest", lambda self, values: values)  # the first process has met nothing
    with pytest.raises(RunFailure, match=r"^process 1 on .*: no shards at data/digits$"):
        second.together(missing)
    monkeypatch.setattr(Processes, "highest", lambda self, values: [2])  # the first process has met it, too, and tells
    with pytest.raises(UsageError, match=r"^no shards at data/digits$"):
        second.together(missing)


def test_a_port_that_is_taken_is_told(environment: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for name, value in {**TWO, "MASTER_PORT": port}.items():
            environment.setenv(name, value)
        line = f"^MASTER_ADDR=127.0.0.1, MASTER_PORT={port}: the processes cannot meet"
        with pytest.raises(RunFailure, match=line), launched_processes():
            pass
