"""What the trainer knows of an engine: the protocol, the unsharded training state, and what engines share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn

from pipeline.engines.optimizer import MOMENTUM, skip_unless_finite
from pipeline.engines.teacher import FrozenTeacher
from pipeline.errors import UsageError
from pipeline.supernet.graphs import Graphs
from pipeline.supernet.subnet import Subnet
from pipeline.supernet.supernet import Supernet, Trunk


class EngineError(UsageError):
    """An engine that cannot run as it was asked to."""


@dataclass(frozen=True)
class TrainingState:
    """Weights (with batch-norm statistics) and momentum by parameter name, unsharded, on the CPU.

    The canonical form: every engine at every world size gives and takes it.

    Attributes:
        teacher: weights that were frozen to be learned from; None where the method has none, or not yet.
    """

    weights: dict[str, Tensor]
    momentum: dict[str, Tensor]
    teacher: dict[str, Tensor] | None = None


class Engine(Protocol):
    """One optimizer step over several sub-steps, on one or many processes.

    The same five steps give the same weights on every engine (to 1e-6 in fp32). Gradients are means over the global
    batch and sums over the sub-steps; a parameter that a step does not use has gradient zero, so that momentum and
    weight decay act on it everywhere alike.
    """

    supernet: Supernet
    teacher: FrozenTeacher
    graphs: Graphs  # of subnets that are replayed; none where weights are sharded

    def forward(self, images: Tensor | Trunk, subnet: Subnet, last: bool) -> Tensor:
        """Logits of `subnet`; `last` tells that this is the step's last sub-step (DDP must know before backward)."""
        ...

    def backward(self, loss: Tensor, last: bool) -> None:
        """Add the gradients of `loss`; the last sub-step's call also reduces them over the processes."""
        ...

    def step(self, learning_rate: float) -> Tensor:
        """Update the weights, clear the gradients, and return their global norm before clipping.

        Where it is not finite, weights and momentum stay as they are.
        """
        ...

    def full_state(self) -> TrainingState:
        """The training state, the same on all processes. All of them must call it."""
        ...

    def whole_supernet(self) -> Supernet:
        """The supernet to evaluate: whole weights, averaged statistics. All processes must call it.

        Where weights are sharded it is a copy, which the next call overwrites.
        """
        ...

    def load_state(self, state: TrainingState) -> None:
        """Continue from `state`. All processes must call it."""
        ...


@torch.no_grad()
def add_together(parameters: Sequence[nn.Parameter], backward: Callable[[], None]) -> None:
    """Run `backward` and add its gradients to those that `parameters` have: all at once, to the same bits.

    Autograd would add them parameter by parameter, a launch each. The last backward pass of a step that is reduced over
    processes must not come this way: it is reduced as it goes, with what was there before.
    """
    before = [parameter.grad for parameter in parameters]
    for parameter in parameters:
        parameter.grad = None
    with torch.enable_grad():
        backward()
    sums, terms = [], []
    for parameter, gathered in zip(parameters, before, strict=True):
        if gathered is None:
            continue
        if parameter.grad is not None:
            sums.append(gathered)
            terms.append(parameter.grad)
        parameter.grad = gathered
    if sums:
        torch._foreach_add_(sums, terms)


def fill_missing_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Give parameters that no sub-step used a gradient of zero, where autograd leaves none."""
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)


@torch.no_grad()
def average_running_statistics(model: nn.Module) -> None:
    """Replace the batch-norm statistics, which each process gathers on its own samples, by their mean over all.

    Averaging now or at the end is the same, as the moving average is linear; it is done before evaluation and saving.
    """
    if not (dist.is_initialized() and dist.get_world_size() > 1):
        return
    buffers = [buffer for buffer in model.buffers() if buffer.is_floating_point()]
    flat = torch.cat([buffer.flatten() for buffer in buffers])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for buffer, part in zip(buffers, flat.split([buffer.numel() for buffer in buffers]), strict=True):
        buffer.copy_(part.view_as(buffer))


def mean_over_processes(values: Tensor) -> Tensor:
    """The mean of `values` over all processes, the same on all of them, which must all call it."""
    if dist.is_initialized() and dist.get_world_size() > 1:
        dist.all_reduce(values)
        values /= dist.get_world_size()
    return values


def unsharded_state(model: nn.Module, optimizer: torch.optim.Optimizer, teacher: FrozenTeacher) -> TrainingState:
    """The state of a model and optimizer that every process holds whole."""
    return TrainingState(copy_weights(model), copy_momentum(model, optimizer), teacher.weights())


def copy_momentum(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The momentum of all parameters, copied to the CPU; zero before the first step."""
    momentum = {}
    for name, parameter in model.named_parameters():
        buffer = optimizer.state[parameter].get(MOMENTUM)
        momentum[name] = torch.zeros(parameter.shape) if buffer is None else buffer.detach().cpu().clone()
    return momentum


@torch.no_grad()
def load_unsharded_state(
    model: nn.Module, optimizer: torch.optim.Optimizer, teacher: FrozenTeacher, state: TrainingState
) -> None:
    """The inverse of `unsharded_state`."""
    teacher.load(state.teacher)
    model.load_state_dict(state.weights)
    for name, parameter in model.named_parameters():
        optimizer.state[parameter][MOMENTUM].copy_(state.momentum[name])


def copy_weights(model: nn.Module) -> dict[str, Tensor]:
    """All parameters and buffers of `model`, copied to the CPU."""
    return {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}


class WholeCopy:
    """A plain supernet beside one whose weights are sharded, made when first asked for."""

    def __init__(self, sharded: Supernet, whole: Callable[[nn.Parameter], Tensor]) -> None:
        self._sharded = sharded
        self._whole = whole  # gathers one parameter, on all processes together
        self._copy: Supernet | None = None

    @torch.no_grad()
    def get(self) -> Supernet:
        """The copy, with the weights and statistics of now."""
        if self._copy is None:
            self._copy = self._sharded.blank(next(self._sharded.buffers()).device)
        for name, parameter in self._sharded.named_parameters():
            self._copy.get_parameter(name).copy_(self._whole(parameter))
        for name, buffer in self._sharded.named_buffers():
            self._copy.get_buffer(name).copy_(buffer)
        return self._copy


def update(
    parameters: list[nn.Parameter], optimizer: torch.optim.Optimizer, learning_rate: float, clip: float | None
) -> Tensor:
    """Clip, step and clear gradients that every process holds whole; returns their norm before clipping."""
    norm = complete_gradients(parameters, clip)
    skip_unless_finite(optimizer, norm)
    set_learning_rate(optimizer, learning_rate)
    optimizer.step()
    optimizer.zero_grad()
    return norm


def complete_gradients(parameters: list[nn.Parameter], clip: float | None) -> Tensor:
    """Fill in the missing gradients and clip all of them, whole or DTensors; returns their norm before clipping."""
    fill_missing_gradients(parameters)
    norm = torch.nn.utils.get_total_norm([parameter.grad for parameter in parameters if parameter.grad is not None])
    if clip is not None:
        torch.nn.utils.clip_grads_with_norm_(parameters, clip, norm)
    return norm


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
