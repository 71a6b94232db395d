"""The optimizer is Nesterov SGD by the book, whoever computes it."""

import sys
import types

import pytest
import torch
from torch import nn

from pipeline.engines import optimizer as optim
from pipeline.engines.eager_sgd import EagerSGD
from pipeline.engines.optimizer import SgdConfig, build_optimizer, skip_unless_finite, start_momentum
from pipeline.errors import UsageError


@pytest.mark.parametrize("nesterov", [True, False])
def test_three_steps_are_those_of_the_formula(nesterov: bool) -> None:
    """v ← μ·v + g + λ·w; w ← w − η·(g + λ·w + μ·v) with Nesterov's momentum, w − η·v without."""
    torch.manual_seed(0)
    model = nn.Linear(5, 3)
    exact = [parameter.detach().double().clone() for parameter in model.parameters()]
    velocity = [torch.zeros_like(each) for each in exact]
    optimizer = build_optimizer(list(model.parameters()), SgdConfig(weight_decay=0.1, nesterov=nesterov))
    for step, rate in enumerate((0.1, 0.05, 0.2)):
        for index, parameter in enumerate(model.parameters()):
            parameter.grad = torch.full_like(parameter, 0.5 - step) + parameter.detach()
            decay = 0.1 if parameter.ndim > 1 else 0.0
            gradient = 0.5 - step + exact[index] + decay * exact[index]
            velocity[index] = 0.9 * velocity[index] + gradient
            exact[index] -= rate * (gradient + 0.9 * velocity[index] if nesterov else velocity[index])
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
    for parameter, wanted in zip(model.parameters(), exact, strict=True):
        torch.testing.assert_close(parameter.detach().double(), wanted, rtol=1e-6, atol=1e-6)


def three_torch_steps(kind: type[torch.optim.SGD], nesterov: bool) -> list[torch.Tensor]:
    """The parameter, its momentum, and norms that hooks have seen before and after each step."""
    torch.manual_seed(0)
    parameter, norms = nn.Parameter(torch.randn(5000)), []
    optimizer = kind([parameter], lr=0.1, momentum=0.9, nesterov=nesterov, weight_decay=0.1, fused=True)
    optimizer.register_step_pre_hook(lambda *_: norms.append(parameter.detach().norm()))
    optimizer.register_step_post_hook(lambda *_: norms.append(parameter.detach().norm()))
    for _ in range(3):
        (parameter**2).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        assert parameter.requires_grad
        assert parameter.grad is None
    return [parameter.detach(), optimizer.state[parameter]["momentum_buffer"], torch.stack(norms)]


@pytest.mark.parametrize("nesterov", [True, False])
def test_it_is_torchs_own_sgd_to_the_last_bit(nesterov: bool) -> None:
    ours, torchs = (three_torch_steps(kind, nesterov) for kind in (EagerSGD, torch.optim.SGD))
    assert len(ours[-1]) == 6
    for each, wanted in zip(ours, torchs, strict=True):
        assert torch.equal(each, wanted)


def step(optimizer: torch.optim.Optimizer, parameter: nn.Parameter, gradient: torch.Tensor) -> None:
    parameter.grad = gradient
    skip_unless_finite(optimizer, gradient.norm())
    optimizer.step()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("first", [True, False])
def test_a_step_whose_gradients_are_not_finite_changes_nothing(value: float, first: bool) -> None:
    trained = []
    for damaged in (False, True):
        torch.manual_seed(0)
        parameter, gradients = nn.Parameter(torch.randn(5000)), torch.randn(3, 5000)
        optimizer = build_optimizer([parameter], SgdConfig(weight_decay=0.1))
        start_momentum(optimizer)
        optimizer.param_groups[0]["lr"] = optimizer.param_groups[1]["lr"] = 0.1
        for number, gradient in enumerate(gradients):
            if damaged and number == (0 if first else 1):
                step(optimizer, parameter, gradient.index_fill(0, torch.tensor([17]), value))
            step(optimizer, parameter, gradient)
        trained.append((parameter, optimizer.state[parameter]["momentum_buffer"]))
    for without, with_it in zip(*trained, strict=True):
        assert torch.equal(without, with_it)


def test_apexs_kernel_is_told_by_its_own_flag() -> None:
    """Which its `multi_tensor_sgd` looks at first. That needs a GPU and apex; here is only what it gets."""
    apex = types.SimpleNamespace(_dummy_overflow_buf=torch.zeros(1, dtype=torch.int32))
    for norm, flag in ((1.0, 0), (float("nan"), 1), (2.0, 0), (float("inf"), 1)):
        skip_unless_finite(apex, torch.tensor(norm))
        assert apex._dummy_overflow_buf.tolist() == [flag]


def test_apex_is_refused_in_one_line_where_it_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    config = SgdConfig(implementation="apex")
    with pytest.raises(UsageError, match="needs a CUDA device, not cpu; legal here: torch"):
        build_optimizer(list(nn.Linear(2, 2).parameters()), config)
    with pytest.raises(UsageError, match="not installed; build it from https"):
        optim._apex_sgd(torch.device("cuda"))


def test_apexs_own_optimizer_is_taken_where_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    optimizers = types.ModuleType("apex.optimizers")
    optimizers.FusedSGD = torch.optim.SGD  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "apex.optimizers", optimizers)
    monkeypatch.setattr(optim.importlib.util, "find_spec", lambda name: name in ("amp_C", "apex") or None)
    assert optim._apex_sgd(torch.device("cuda")) is torch.optim.SGD


def test_elements_of_the_gradient_are_clipped_before_decay_and_momentum() -> None:
    weight = torch.nn.Parameter(torch.tensor([[1.0, 1.0, 1.0]]))
    optimizer = build_optimizer([weight], SgdConfig(gradient_clip_value=0.5, weight_decay=0.1, nesterov=False))
    optimizer.param_groups[0]["lr"] = 1.0
    weight.grad = torch.tensor([[3.0, -0.2, -7.0]])
    optimizer.step()
    torch.testing.assert_close(weight.detach(), torch.tensor([[1 - 0.6, 1 + 0.1, 1 + 0.4]]))
