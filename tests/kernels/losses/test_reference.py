"""The plain losses against their definitions in float64, and who is given them."""

import pytest
import torch

from kernels.losses import reference
from kernels.losses.choice import losses_for


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_soft_cross_entropy_is_the_definition(temperature: float) -> None:
    logits, teacher = torch.randn(2, 5, 11, generator=torch.Generator().manual_seed(0))
    p = torch.exp(teacher.double() / temperature)
    p /= p.sum(1, keepdim=True)
    q = torch.exp(logits.double() / temperature)
    q /= q.sum(1, keepdim=True)
    expected = -(temperature**2) * (p * q.log()).sum(1).mean()
    actual = reference.soft_cross_entropy(logits, teacher, temperature)
    assert float(actual) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("operations", ["reference", "cpu"])
def test_they_go_with_the_operations_of_every_device_but_a_gpu(operations: str) -> None:
    assert losses_for(operations).soft_cross_entropy is reference.soft_cross_entropy
