"""The plain losses against their definitions in float64, and who is given them."""

import math

import pytest
import torch
from torch import Tensor

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
    assert losses_for(operations).alpha_divergence is reference.alpha_divergence


# A worked example, float64: three samples of three classes, and what comes of them at α = −1 and 1, clip 5.
TEACHER = torch.tensor([[2, 0, -1], [1, 0.8, 0.2], [3, 0, 0]], dtype=torch.float64)
NETWORK = torch.tensor([[0, 1, 0], [0.5, 0.9, 1], [0, 0, 2]], dtype=torch.float64)
DIVERGENCES = {
    -1: [1.496763494, 0.146117904, 1.598968001],
    0.5: [0.905025708, 0.128695281, 1.722243186],
    1: [0.912982898, 0.127768111, 1.782393804],
    2: [0.045335033, 0.132574809, -0.222805573],
}
LOSS = -0.477242521
GRADIENT = [
    [-0.264386518, 0.193282032, 0.071104486],
    [-0.059933122, -0.035325514, 0.095258636],
    [-0.26764534, 0.020409493, 0.247235847],
]


@pytest.mark.parametrize("alpha", DIVERGENCES)
def test_divergences_are_those_of_the_worked_example(alpha: float) -> None:
    found, _ = reference.divergence(TEACHER.log_softmax(1), NETWORK.log_softmax(1), alpha, clip=5)
    torch.testing.assert_close(found, torch.tensor(DIVERGENCES[alpha], dtype=torch.float64), atol=1e-8, rtol=0)


def test_loss_and_gradient_of_the_alpha_divergence_are_those_of_the_worked_example() -> None:
    """The first two samples take α = −1, the third takes 1."""
    network = NETWORK.clone().requires_grad_()
    loss = reference.alpha_divergence(network, TEACHER, 1.0, (-1, 1), 5)
    (gradient,) = torch.autograd.grad(loss, network)
    assert loss.item() == pytest.approx(LOSS, abs=1e-8)
    torch.testing.assert_close(gradient, torch.tensor(GRADIENT, dtype=torch.float64), atol=1e-8, rtol=0)


def written_out(z: list[float], of: list[float], alphas: tuple[float, float], clip: float) -> tuple[float, list[float]]:
    """Surrogate and gradient of one sample, class by class, with powers of ratios as they are defined."""
    q, p = (softmax(each) for each in (z, of))

    def of_alpha(alpha: float) -> tuple[float, list[float]]:
        pairs = list(zip(p, q, strict=True))
        if alpha == 1:
            return sum(a * math.log(a / b) for a, b in pairs), [a / b for a, b in pairs]
        if alpha == 0:
            ratios = [min(a / b, clip) for a, b in pairs]
            return -sum(b * math.log(r) for b, r in zip(q, ratios, strict=True)), [math.log(r) - 1 for r in ratios]
        powers = [min((a / b) ** alpha, clip) for a, b in pairs]
        value = sum(b * (w - 1) for b, w in zip(q, powers, strict=True)) / (alpha * (alpha - 1))
        return value, [w / alpha + 1 / (alpha * (alpha - 1)) for w in powers]

    (first, of_first), (second, of_second) = map(of_alpha, alphas)
    factors = [b * rho for b, rho in zip(q, of_first if first > second else of_second, strict=True)]
    value = -sum(factor * math.log(b) for factor, b in zip(factors, q, strict=True))
    return value, [b * sum(factors) - factor for factor, b in zip(factors, q, strict=True)]


def softmax(logits: list[float]) -> list[float]:
    powers = [math.exp(each) for each in logits]
    return [each / sum(powers) for each in powers]


@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize(("alphas", "clip"), [((-1, 1), 5), ((0, 0.5), 1.5), ((2, 0), 5), ((-0.5, 3), 0.8)])
def test_the_alpha_divergence_is_the_written_out_formula(
    alphas: tuple[float, float], clip: float, temperature: float
) -> None:
    """Of samples of which some take one α, some the other."""
    z, teacher = 2 * torch.randn(2, 20, 7, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    z.requires_grad_()
    loss = reference.alpha_divergence(z, teacher, temperature, alphas, clip)
    (gradient,) = torch.autograd.grad(loss, z)
    pairs = zip((z / temperature).tolist(), (teacher / temperature).tolist(), strict=True)
    samples = [written_out(*pair, alphas, clip) for pair in pairs]
    assert loss.item() == pytest.approx(temperature**2 * sum(value for value, _ in samples) / 20, rel=1e-12)
    wanted = temperature / 20 * torch.tensor([row for _, row in samples], dtype=torch.float64)
    torch.testing.assert_close(gradient, wanted, atol=1e-14, rtol=1e-12)


@pytest.mark.parametrize("alpha", [-1.0, 0.0, 0.5, 1.0, 2.0])
def test_where_nothing_is_clipped_the_gradient_is_the_divergences_own(alpha: float) -> None:
    def divergence(network: Tensor) -> Tensor:
        return reference.divergence(TEACHER.log_softmax(1), network.log_softmax(1), alpha, clip=1e9)[0].mean()

    z = NETWORK.clone().requires_grad_()
    (wanted,) = torch.autograd.grad(divergence(z), z)
    (gradient,) = torch.autograd.grad(reference.alpha_divergence(z, TEACHER, 1.0, (alpha, alpha), 1e9), z)
    torch.testing.assert_close(gradient, wanted, atol=1e-12, rtol=1e-12)


EXTREME = torch.tensor([[0, 0, 0], [1e4, 0, -1e4], [-1e30, 1e30, 0], [-90, 0, 90]], dtype=torch.float32)


@pytest.mark.parametrize("alphas", [(-1.0, 1.0), (0.0, 1.0), (0.5, 2.0), (-100.0, 100.0)])
def test_the_alpha_divergence_is_finite_at_extreme_logits(alphas: tuple[float, float]) -> None:
    for shift in range(len(EXTREME)):
        z = EXTREME.clone().requires_grad_()
        loss = reference.alpha_divergence(z, EXTREME.roll(shift, 0), 1.0, alphas, 5)
        loss.backward()
        assert loss.isfinite()
        assert z.grad is not None
        assert z.grad.isfinite().all()
