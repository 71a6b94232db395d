"""The frozen teacher computes as the full model in training mode, and nothing that it computes changes it."""

import copy

import pytest
import torch

from pipeline.engines.teacher import FrozenTeacher
from pipeline.supernet.networks import NETWORKS
from pipeline.supernet.supernet import Supernet
from tests.pipeline.supernet.test_supernet import images, lively

SPACE = NETWORKS["mobilenet_v3_digits"]


@pytest.mark.parametrize("kernels", ["reference", "auto"])
def test_it_computes_by_batch_statistics_without_dropout_and_stays_as_it_was(kernels: str) -> None:
    weights = copy.deepcopy(lively(SPACE).state_dict())
    teacher = FrozenTeacher(Supernet(SPACE, dropout=0.5, kernels=kernels))
    teacher.load(weights)
    expected = Supernet(SPACE, kernels=kernels).train()
    expected.load_state_dict(weights)
    with torch.no_grad():
        wanted = expected(images(), SPACE.largest())
    for _ in range(2):
        assert torch.equal(teacher.logits(images()), wanted)
    kept = teacher.weights()
    assert kept is not None
    assert set(kept) == set(weights)
    for name, tensor in weights.items():
        assert torch.equal(kept[name], tensor), name


def test_there_is_none_before_one_is_frozen_and_after_it_is_given_up() -> None:
    teacher = FrozenTeacher(Supernet(SPACE))
    assert teacher.weights() is None
    teacher.load(lively(SPACE).state_dict())
    teacher.load(None)
    assert teacher.weights() is None
