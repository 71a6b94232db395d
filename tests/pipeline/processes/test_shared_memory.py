"""A run finds out before anything else whether its readers can hand their batches over."""

import logging
from pathlib import Path

import pytest
import torch

from data_shards.config import DataConfig
from data_shards.errors import ShardUsageError
from data_shards.store.index import open_split
from pipeline.commands import evaluate as pareto
from pipeline.commands import opening
from pipeline.evaluation import evaluate
from pipeline.evaluation.config import EvaluationConfig
from pipeline.evaluation.evaluate import Evaluator
from pipeline.processes import shared_memory
from pipeline.processes.group import Processes
from pipeline.recipe.reading import load_recipe
from pipeline.supernet.networks import NETWORKS
from pipeline.supernet.supernet import Supernet
from tests.support.command_line import REPOSITORY, deps, refused

ALONE = Processes(0, 1, torch.device("cpu"))
RECIPE = REPOSITORY / "recipes" / "digits.yaml"
MIB = 1 << 20


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch) -> None:
    """Room for less than six batches of training and of evaluation, which are 0.9 MiB together."""
    monkeypatch.setattr(shared_memory, "free_bytes", lambda: 5 * MIB)


def test_training_refuses_in_one_line_before_it_writes_anything(little, digits: Path, tmp_path: Path) -> None:
    named = ("engine={name: single}", f"data.shards={digits}", f"runs={tmp_path / 'runs'}")
    line = refused(deps("train", RECIPE, *named, "data.workers=2", "data.prefetch=2", cwd=tmp_path))
    assert "need 6 MiB of /dev/shm, where 5 can be had; legal: data.workers=0 … 1, data.prefetch=1 … 1" in line
    assert list(tmp_path.iterdir()) == []


def test_evaluation_refuses_before_it_reads(monkeypatch: pytest.MonkeyPatch, little, digits: Path) -> None:
    recipe = load_recipe(RECIPE, [f"data.shards={digits}", "data.workers=3", "data.prefetch=2"])
    monkeypatch.setattr(opening, "read_recipe", lambda folder: recipe)
    monkeypatch.setattr(opening, "load_supernet", lambda folder: Supernet(NETWORKS["mobilenet_v3_digits"]))
    monkeypatch.setattr(opening, "check_data", lambda *_: None)
    with pytest.raises(ShardUsageError, match=r"need 7 MiB of /dev/shm, where 5 can be had"):
        pareto.evaluate_run(Path("run"), ())


class Several(Processes):
    """As if the other processes of a run had told what they found."""

    def gathered(self, values):
        return [("here", 6 * MIB), ("there", 10 * MIB), ("there", 10 * MIB)]


@pytest.mark.parametrize(("rank", "lines"), [(0, 1), (1, 0)])
def test_the_machine_with_least_room_for_each_decides_and_one_process_tells(
    digits: Path, caplog: pytest.LogCaptureFixture, rank: int, lines: int
) -> None:
    config = DataConfig(shards=digits, workers=2)
    processes = Several(rank, 3, torch.device("cpu"))
    with caplog.at_level(logging.WARNING):
        fitted = shared_memory.fit_readers(config, open_split(digits, "train"), [(1024, 18)], processes)
    assert (fitted.workers, fitted.prefetch) == (2, 1)  # of the 5 MiB that each of two may have, 3 batches in use
    assert len(caplog.messages) == lines
    assert all("× 2 processes" in line for line in caplog.messages)


def test_images_that_are_kept_are_kept_outside_of_shared_memory(monkeypatch: pytest.MonkeyPatch, digits: Path) -> None:
    class SharedBatches(evaluate.EvaluationLoader):
        def __iter__(self):
            for batch in super().__iter__():
                batch.images.share_memory_()
                yield batch

    monkeypatch.setattr(evaluate, "EvaluationLoader", SharedBatches)
    splits = open_split(digits, "train"), open_split(digits, "test")
    data = DataConfig(shards=digits, workers=0)
    evaluator = Evaluator(*splits, data, EvaluationConfig(recalibration_samples=40, batch_size=20), ALONE)
    list(evaluator._recalibration(32))
    images = [batch.images for batch in evaluator._recalibration(32)]
    assert [len(each) for each in images] == [20, 20]
    assert not any(each.is_shared() for each in images)
