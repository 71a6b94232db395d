"""The α-divergence's loss and gradient against the plain one in float64."""

import pytest
import torch

from kernels.losses import reference
from kernels.losses.choice import losses_for
from kernels.losses.gpu import alpha_divergence

pytestmark = pytest.mark.usefixtures("poisoned_memory")


@pytest.mark.parametrize(
    ("alphas", "temperature"), [((-1.0, 1.0), 1.0), ((-1.0, 1.0), 3.0), ((0.0, 0.5), 1.0), ((2.0, 0.0), 1.0)]
)
@pytest.mark.parametrize(("batch", "classes"), [(1, 2), (5, 10), (3, 1000)])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2**-7)], ids=["float32", "bfloat16"]
)
def test_loss_and_gradient_are_those_of_the_plain_one(
    batch: int,
    classes: int,
    alphas: tuple[float, float],
    temperature: float,
    dtype: torch.dtype,
    tolerance: float,
    device: str,
) -> None:
    generator = torch.Generator().manual_seed(classes)
    student = (2 * torch.randn(batch, classes, generator=generator)).to(device, dtype).requires_grad_()
    teacher = (2 * torch.randn(batch, classes, generator=generator) + 100).to(device, dtype)
    loss = alpha_divergence(student, teacher, temperature, alphas, 5.0)
    (3 * loss).backward()
    exact = student.detach().double().requires_grad_()
    expected = reference.alpha_divergence(exact, teacher.double(), temperature, alphas, 5.0)
    (3 * expected).backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4, abs=1e-4)
    assert student.grad is not None
    assert exact.grad is not None
    assert student.grad.dtype == dtype
    assert (student.grad.double() - exact.grad).norm() <= tolerance * exact.grad.norm()


@pytest.mark.parametrize("alphas", [(-1.0, 1.0), (0.0, 2.0)])
def test_it_is_finite_at_extreme_logits(alphas: tuple[float, float], device: str) -> None:
    extreme = torch.tensor([[0, 0, 0], [1e4, 0, -1e4], [-1e30, 1e30, 0], [-90, 0, 90]], device=device)
    for shift in range(len(extreme)):
        student = extreme.clone().requires_grad_()
        loss = alpha_divergence(student, extreme.roll(shift, 0), 1.0, alphas, 5.0)
        loss.backward()
        assert loss.isfinite()
        assert student.grad is not None
        assert student.grad.isfinite().all()


def test_it_goes_with_tritons_operations() -> None:
    assert losses_for("triton").alpha_divergence is alpha_divergence
