"""A step's one agreement of all processes: data, damage, stops and checkpoints that could not be written."""

import signal
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from data_shards.augmentation.crops import Augmentation
from data_shards.errors import ShardDamage
from pipeline.errors import PeerFailure
from pipeline.processes.group import Processes
from pipeline.training.feed import Feed
from pipeline.training.stop_request import StopRequest
from tests.support.trainers import digits_recipe, digits_trainer

NOTHING = (0, 0, 0, 0)  # precedence of a failure, damages, a checkpoint not written, a signal


class Second(Processes):
    """The second of two processes; the first one tells `first`."""

    first: tuple[int, ...] = NOTHING

    def highest(self, values: Sequence[int]) -> list[int]:
        return [max(pair) for pair in zip(values, self.first, strict=True)]


class Loader:
    """Gives one batch, which cannot be read where it is a failure, and shows others for samples that are damaged."""

    def __init__(self, batch: object, damages: int = 0) -> None:
        self.batch, self.damages = batch, damages
        self.wait_seconds = 0.0
        self.skipped: list[str] = []

    def __iter__(self) -> Iterator[object]:
        self.wait_seconds += 2.0
        self.skipped += ["damage"] * self.damages
        if isinstance(self.batch, Exception):
            raise self.batch
        yield self.batch


class Settled:
    """Keeps what was settled."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def settle(self, damages: list[str]) -> None:
        self.calls.append(list(damages))


def fed(loader: Any, *first: int) -> tuple[Feed, Settled]:
    second = Second(1, 2, torch.device("cpu"))
    object.__setattr__(second, "first", first or NOTHING)
    settled: Any = Settled()
    return Feed(loader, settled, StopRequest(), Augmentation(), 10, second), settled


def test_what_any_process_was_told_is_known_to_all() -> None:
    feed, settled = fed(Loader("batch"), 0, 0, 1, signal.SIGTERM)
    read = feed.read(unwritten=False)
    assert (read.batch, read.stop, read.unwritten, read.waited) == ("batch", signal.SIGTERM, True, 2.0)
    assert settled.calls == []


def test_what_this_process_was_told_counts_as_well() -> None:
    feed, _ = fed(Loader("batch"))
    feed.stop_request.signal = signal.SIGUSR1
    read = feed.read(unwritten=True)
    assert (read.stop, read.unwritten) == (signal.SIGUSR1, True)


def test_without_any_of_it_the_run_goes_on() -> None:
    feed, _ = fed(Loader("batch"))
    read = feed.read(unwritten=False)
    assert (read.stop, read.unwritten) == (None, False)


@pytest.mark.parametrize("first", [0, 1], ids=["met here", "met there"])
def test_damage_on_any_process_is_settled_by_all_and_once(first: int) -> None:
    feed, settled = fed(Loader("batch", damages=1 - first), 0, first, 0, 0)
    feed.read(unwritten=False)
    assert settled.calls == [["damage"] * (1 - first)]
    assert feed.loader.skipped == []


def test_data_that_cannot_be_read_goes_before_a_stop() -> None:
    feed, _ = fed(Loader(ShardDamage("train-000000.tar", "gone")), 0, 0, 0, signal.SIGTERM)
    with pytest.raises(ShardDamage, match="gone"):
        feed.read(unwritten=False)
    feed, _ = fed(Loader("batch"), 2, 0, 0, signal.SIGTERM)
    with pytest.raises(PeerFailure):
        feed.read(unwritten=False)


def test_processes_agree_once_in_a_step(digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rare = ["log_every=100 steps", "evaluation.every=0", "evaluation.full_when_shrinking=0"]
    rare += ["checkpoint.every=100 steps", "schedule.duration=8 steps", "schedule.reorganise=false"]
    rare += ["schedule.full_model_warmup=4 steps", "schedule.epsilon_ramp=2 steps", "data.on_corrupt=skip"]
    agreements, before = 0, []
    highest = Processes.highest

    def counted(self: Processes, values: Sequence[int]) -> list[int]:
        nonlocal agreements
        agreements += 1
        return highest(self, values)

    def step(*arguments: Any) -> None:
        before.append(agreements)
        train_step(*arguments)

    monkeypatch.setattr(Processes, "highest", counted)
    trainer, _ = digits_trainer(digits_recipe(digits, tmp_path, *rare), Processes(0, 1, torch.device("cpu")))
    train_step = trainer.step
    monkeypatch.setattr(trainer, "step", step)
    trainer.train()
    assert [later - earlier for earlier, later in pairwise(before)] == [1] * 7
