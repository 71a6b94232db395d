"""Accuracies are measured in one precision, float32, whatever the network was trained in."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from data_shards.loading.loader import DataConfig
from data_shards.store.index import open_split
from pipeline.evaluation import evaluate
from pipeline.evaluation.config import EvaluationConfig
from pipeline.evaluation.evaluate import Accuracy, Evaluator
from pipeline.processes.group import Processes
from pipeline.supernet.networks import NETWORKS
from pipeline.supernet.supernet import Supernet
from tests.pipeline.supernet.test_supernet import lively

SPACE = NETWORKS["mobilenet_v3_digits"]


@pytest.fixture
def evaluator(digits: Path) -> Evaluator:
    splits = open_split(digits, "train"), open_split(digits, "test")
    config = EvaluationConfig(recalibration_samples=64, batch_size=180)
    return Evaluator(*splits, DataConfig(shards=digits, workers=0), config, Processes(0, 1, torch.device("cpu")))


def trained_in(bf16: bool) -> Supernet:
    supernet = lively(SPACE).train()
    supernet.bf16 = bf16
    return supernet


def both(evaluator: Evaluator, supernet: Supernet) -> tuple[Accuracy, Accuracy]:
    return evaluator.full_model(supernet), evaluator.subnet(supernet, SPACE.smallest())


def test_the_full_model_of_a_run_in_bf16_is_measured_as_its_subnets_are_in_float32(evaluator: Evaluator) -> None:
    supernet = trained_in(bf16=True)
    assert both(evaluator, supernet) == both(evaluator, trained_in(bf16=False))
    assert supernet.bf16
    assert supernet.training


def test_no_figure_comes_of_convolutions_that_round_their_operands(
    evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """cuDNN computes float32 in TF32 unless told otherwise: the subnets', while the full model's kernels do not."""
    seen = []
    normalise, before = evaluate.normalise, torch.backends.cudnn.allow_tf32

    def noting(images: Tensor) -> Tensor:
        seen.append(torch.backends.cudnn.allow_tf32)
        return normalise(images)

    monkeypatch.setattr(evaluate, "normalise", noting)
    both(evaluator, trained_in(bf16=True))
    assert seen
    assert not any(seen)
    assert torch.backends.cudnn.allow_tf32 is before


def test_a_failure_while_measuring_leaves_the_run_its_precision(
    evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch
) -> None:
    supernet = trained_in(bf16=True)

    def failing(*_: object) -> nn.Module:
        raise MemoryError

    monkeypatch.setattr(evaluate, "normalise", failing)
    with pytest.raises(MemoryError):
        evaluator.full_model(supernet)
    assert supernet.bf16
    assert supernet.training
