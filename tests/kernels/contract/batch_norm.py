"""Batch norm's scale and shift against torch's batch norm in float64, and their gradients against autograd."""

import math

import pytest
import torch
import torch.nn.functional as F

from kernels.fused import Convolved, FusedOperations
from kernels.primitives import Primitives
from tests.kernels.contract.launches import Counting
from tests.kernels.contract.operands import random


@pytest.mark.usefixtures("poisoned_memory")
class BatchNormContract:
    """Of `Primitives.batch_norm` and its backward."""

    @pytest.mark.parametrize("momentum", [None, 0.1])
    @pytest.mark.parametrize(("count", "channels", "every"), [(1, 1, 1), (12, 5, 7), (300, 128, 128), (7, 200, 300)])
    def test_scale_and_shift_normalise_and_the_running_statistics_of_the_leading_channels_move(
        self, count: int, channels: int, every: int, momentum: float | None, primitives: Primitives, device: str
    ) -> None:
        x = 3 * random(count, channels, seed=0, device=device) + 1
        weight, bias, mean, variance = (random(every, seed=seed, device=device).abs() for seed in range(4))
        moments = torch.stack((x.double().sum(0), x.double().square().sum(0)))
        running = None if momentum is None else (mean.clone(), variance.clone())
        scale, shift = primitives.batch_norm(moments, count, weight, bias, 1e-5, running, momentum or 0)
        exact = [each[:channels].double() for each in (mean, variance, weight, bias)]
        if count == 1:  # torch refuses: nothing is left of a single value
            expected, exact[0], exact[1] = exact[3].expand_as(x), 0.9 * exact[0] + 0.1 * x[0], 0.9 * exact[1]
        else:
            expected = F.batch_norm(x.double(), *exact, training=True, momentum=momentum or 0, eps=1e-5)
        assert scale.dtype == shift.dtype == torch.float32
        size = scale.abs() * x.abs() + shift.abs() + bias[:channels]
        assert ((x * scale.double() + shift - expected).abs() <= 2e-7 * size).all()
        if running is not None:
            for statistics, before, after in zip(running, (mean, variance), exact[:2], strict=True):
                torch.testing.assert_close(statistics[:channels].double(), after, rtol=1e-6, atol=1e-6)
                assert torch.equal(statistics[channels:], before[channels:])

    @pytest.mark.parametrize(("channels", "every"), [(1, 1), (5, 7), (128, 128), (200, 300)])
    def test_gradients_are_those_of_the_definition_and_zero_beyond_the_leading_channels(
        self, channels: int, every: int, primitives: Primitives, device: str
    ) -> None:
        x, count = 3 * random(12, channels, seed=0, device=device).double() + 1, 12
        weight, bias = random(every, seed=1, device=device), random(every, seed=2, device=device)
        given = [torch.stack((x.sum(0), x.square().sum(0))), weight.double(), bias.double()]
        exact = [each.requires_grad_() for each in given]
        mean, square = exact[0] / count
        scale = exact[1][:channels] / (square - mean * mean + 1e-5).sqrt()
        pulls = random(2, channels, seed=3, device=device)
        outputs = scale, exact[2][:channels] - mean * scale
        expected = torch.autograd.grad(outputs, exact, list(pulls.double()))
        actual = primitives.batch_norm_backward(pulls[0], pulls[1], given[0].detach(), count, weight, 1e-5)
        assert [each.dtype for each in actual] == [torch.float64, torch.float32, torch.float32]
        for mine, wanted in zip(actual, expected, strict=True):
            assert mine.is_contiguous()
            torch.testing.assert_close(mine.double(), wanted, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(actual[0], expected[0], rtol=1e-10, atol=1e-10)
        assert not any(each[channels:].any() for each in actual[1:])

    def test_a_variance_far_below_the_squared_mean_survives_and_none_is_negative(
        self, primitives: Primitives, device: str
    ) -> None:
        one, zero = torch.ones(3, device=device), torch.zeros(3, device=device)
        mean, variance = 1000.0, 1e-4
        squares = [mean**2 + variance, mean**2, mean**2 * (1 - 1e-15)]
        moments = 64 * torch.tensor([[mean] * 3, squares], dtype=torch.float64, device=device)
        scale, shift = primitives.batch_norm(moments, 64, one, zero, 1e-5, None, 0.1)
        wanted = torch.tensor([variance + 1e-5, 1e-5, 1e-5], dtype=torch.float64, device=device).rsqrt()
        torch.testing.assert_close(scale.double(), wanted, rtol=1e-5, atol=0)
        torch.testing.assert_close(shift.double(), -mean * wanted, rtol=1e-5, atol=0)

    def test_what_is_not_a_number_stays_so(self, primitives: Primitives, device: str) -> None:
        moments = torch.tensor([[1.0, math.nan, 1.0], [1.0, math.nan, math.nan]], dtype=torch.float64, device=device)
        one, running = torch.ones(3, device=device), (torch.zeros(3, device=device), torch.ones(3, device=device))
        scale, shift = primitives.batch_norm(moments, 1, one, one, 1e-5, running, 0.1)
        assert [*scale.isnan(), *shift.isnan(), *running[1].isnan()] == [False, True, True] * 3
        assert [*running[0].isnan()] == [False, True, False]
        of_moments, of_weight, _ = primitives.batch_norm_backward(one, one, moments, 1, one, 1e-5)
        assert [*of_moments[0].isnan(), *of_weight.isnan()] == [False, True, True] * 2

    def test_it_is_one_launch_each_way_and_nothing_else(
        self, primitives: Primitives, device: str, launches: Counting
    ) -> None:
        operations = FusedOperations(primitives, "tested")
        moments = 12 * torch.stack((torch.ones(5), torch.full((5,), 3.0))).double().to(device).requires_grad_()
        weight, bias = (random(7, seed=seed, device=device).requires_grad_() for seed in (1, 2))
        running = torch.zeros(7, device=device), torch.ones(7, device=device)
        raw, pulls = torch.ones(3, 5, 2, 2, device=device), list(random(2, 5, seed=3, device=device))
        with launches() as forward:
            y = operations.batch_norm(Convolved(raw, moments), weight, bias, running, True, 0.1, 1e-5, "relu")
        with launches() as backward:
            torch.autograd.grad((y.scale, y.shift), (moments, weight, bias), pulls)
        for counts in (forward, backward):
            assert counts.of_torch == []
            assert counts.of_backend == 1
