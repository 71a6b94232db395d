"""Ranks from srun: taken where no launcher has set any, and not in a batch script, which has numbers of its own."""

import os

import pytest

from pipeline.processes.group import launched_processes

TASK = {"SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NTASKS": "8", "SLURM_STEP_NUM_TASKS": "1"}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"):
        monkeypatch.setenv(name, "")  # so that what the code sets is undone
        monkeypatch.delenv(name)
    return monkeypatch


def test_a_task_of_a_step_takes_its_ranks(environment: pytest.MonkeyPatch) -> None:
    for name, value in TASK.items():
        environment.setenv(name, value)
    with launched_processes() as processes:
        assert (processes.rank, processes.world) == (0, 1)
    assert (os.environ["RANK"], os.environ["WORLD_SIZE"], os.environ["LOCAL_RANK"]) == ("0", "1", "0")


def test_a_program_that_a_batch_script_starts_is_alone(environment: pytest.MonkeyPatch) -> None:
    for name, value in TASK.items():
        environment.setenv(name, value)
    environment.delenv("SLURM_STEP_NUM_TASKS")
    with launched_processes() as processes:
        assert (processes.rank, processes.world) == (0, 1)
    assert "WORLD_SIZE" not in os.environ


def test_what_a_launcher_set_stays(environment: pytest.MonkeyPatch) -> None:
    for name, value in (TASK | {"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2"}).items():
        environment.setenv(name, value)
    environment.setenv("RANK", "0")
    with launched_processes() as processes:  # DeepSpeed's launcher on this node, itself task 1 of the step
        assert (processes.rank, processes.world) == (0, 1)
