"""Distillation's loss and gradient against the definition in float64."""

import pytest
import torch

from kernels.losses import reference
from kernels.losses.choice import losses_for
from kernels.losses.gpu import soft_cross_entropy

pytestmark = pytest.mark.usefixtures("poisoned_memory")


@pytest.mark.parametrize("temperature", [1.0, 4.0])
@pytest.mark.parametrize(("batch", "classes"), [(1, 2), (3, 10), (5, 1000), (2, 21841)])
@pytest.mark.parametrize(
    # The loss is computed in float32 from exact logits. The gradient is rounded to their type, by up to 2^-8 in
    # bfloat16, and so is its product with that of the loss.
    ("dtype", "tolerance"),
    [(torch.float32, 1e-5), (torch.bfloat16, 2**-7)],
    ids=["float32", "bfloat16"],
)
def test_loss_and_gradient_are_those_of_the_definition(
    batch: int, classes: int, temperature: float, dtype: torch.dtype, tolerance: float, device: str
) -> None:
    generator = torch.Generator().manual_seed(classes)
    student = (5 * torch.randn(batch, classes, generator=generator)).to(device, dtype).requires_grad_()
    teacher = (5 * torch.randn(batch, classes, generator=generator) + 100).to(device, dtype)
    loss = soft_cross_entropy(student, teacher, temperature)
    (3 * loss).backward()
    exact = student.detach().double().requires_grad_()
    expected = reference.soft_cross_entropy(exact, teacher.double(), temperature)
    (3 * expected).backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert student.grad is not None
    assert exact.grad is not None
    assert student.grad.dtype == dtype
    assert (student.grad.double() - exact.grad).norm() <= tolerance * exact.grad.norm()


def test_rows_may_lie_apart_and_the_teacher_gets_no_gradient(device: str) -> None:
    both = torch.randn(3, 2, 50, generator=torch.Generator().manual_seed(0)).to(device)
    student, teacher = both[:, 0].requires_grad_(), both[:, 1].clone().requires_grad_()
    loss = soft_cross_entropy(student, teacher, 2.0)
    assert loss.item() == pytest.approx(reference.soft_cross_entropy(student, teacher, 2.0).item(), rel=1e-5)
    loss.backward()
    assert teacher.grad is None
    assert soft_cross_entropy(student.detach(), teacher, 2.0).item() == loss.item()


def test_it_goes_with_tritons_operations() -> None:
    assert losses_for("triton").soft_cross_entropy is soft_cross_entropy
