"""`workers: auto` and `prefetch: auto`: which numbers they stand for, by the cores and by what the launcher tells."""

import os

import pytest
import torch

from data_shards.loading.automatic import automatic_prefetch, automatic_workers, cores_here
from data_shards.loading.loader import DataConfig, TrainLoader
from data_shards.store.index import open_split

LAUNCHERS = ("LOCAL_WORLD_SIZE", "LOCAL_SIZE")
SLURM = ("SLURM_CPUS_PER_TASK", "SLURM_NTASKS_PER_NODE")


@pytest.fixture(autouse=True)
def unlaunched(monkeypatch):
    for name in (*LAUNCHERS, *SLURM):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def sixteen_cores_and_a_gpu(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(16)))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)


@pytest.mark.parametrize("name", LAUNCHERS)
def test_a_launchers_processes_share_the_cores_that_it_was_given(monkeypatch, sixteen_cores_and_a_gpu, name):
    assert cores_here() == 16
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "12")  # of the launcher, which is the task of a node
    monkeypatch.setenv(name, "4")
    assert cores_here() == 4


@pytest.mark.parametrize(("bound_to", "given", "cores"), [(16, "4", 4), (4, "4", 4), (2, "4", 2), (4, "", 4)])
def test_what_srun_starts_has_its_own_cores_bound_or_not(monkeypatch, bound_to, given, cores):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(bound_to)))
    monkeypatch.setenv("SLURM_NTASKS_PER_NODE", "4")
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", given)
    assert cores_here() == cores


@pytest.mark.parametrize(("processes", "workers"), [("1", 15), ("4", 3), ("8", 1), ("32", 1)])
def test_processes_with_gpus_share_the_cores_and_keep_one_each(
    monkeypatch, sixteen_cores_and_a_gpu, processes, workers
):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", processes)
    assert automatic_workers() == workers


def test_many_cores_do_not_mean_as_many_workers(monkeypatch, sixteen_cores_and_a_gpu):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(256)))
    assert automatic_workers() == 16


def test_without_a_gpu_the_cores_are_left_to_training(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert automatic_workers() == 1


def test_at_least_four_batches_are_ready_in_all():
    assert [automatic_prefetch(workers) for workers in (0, 1, 2, 3, 8)] == [4, 4, 2, 2, 2]


def test_a_recipe_that_leaves_it_open_gets_the_machines_and_one_that_does_not_its_own(digits100_root):
    def reader(**keys):
        config = DataConfig(shards=digits100_root, **keys)
        return TrainLoader(open_split(digits100_root, "train"), config, 32, 10, 0, 0, 1, 0, 3).reader

    assert reader() == f"python, workers {automatic_workers()}"
    assert reader(workers=0) == "python, workers 0"
