"""The training of a cell with nothing of the engines: one process, plain autograd, Nesterov's momentum by hand."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.methods.losses import AlphaDivergence, LabelCrossEntropy
from pipeline.methods.phases import StepPlan
from pipeline.supernet.supernet import Supernet, Trunk
from tests.distributed.cells import Cell, batch


def train(cell: Cell, parts: Sequence[int], device: str = "cpu") -> dict:
    """Weights, momentum and gradient norms after the cell's steps on the whole batch.

    Args:
        parts: for each step, of the batch, each of which batch norm sees by itself, as each process does. Where their
            number changes, all go on from the mean of the statistics.
    """
    model, config = cell.supernet().to(device), cell.optimizer
    parameters = dict(model.named_parameters())
    momentum = {name: torch.zeros_like(parameter) for name, parameter in parameters.items()}
    statistics = [dict(model.named_buffers())]
    norms = []
    teacher = None
    for step, plan in enumerate(cell.plans):
        model.zero_grad()
        if step == cell.freezes_at:
            teacher = copy.deepcopy(model)
        if len(statistics) != parts[step]:
            statistics = [_mean(statistics) for _ in range(parts[step])]
        images, labels = (tensor.to(device) for tensor in batch(step))
        batches = list(zip(images.chunk(parts[step]), labels.chunk(parts[step]), strict=True))
        plan = _picked(model, plan, batches)
        for rank, (own, part) in enumerate(zip(statistics, batches, strict=True)):
            torch.manual_seed(cell.seed(step, rank))
            _exchange_statistics(model, own)
            _add_gradients(model, teacher, plan, *part, parts[step])
            _exchange_statistics(model, own)
        gradients = {
            name: torch.zeros_like(each) if each.grad is None else each.grad for name, each in parameters.items()
        }
        norm = torch.sqrt(sum((gradient.double() ** 2).sum() for gradient in gradients.values())).item()
        norms.append(norm)
        scale = 1.0 if config.gradient_clip is None else min(1.0, config.gradient_clip / (norm + 1e-6))
        most = math.inf if config.gradient_clip_value is None else config.gradient_clip_value
        with torch.no_grad():
            for name, parameter in parameters.items():
                decay = config.weight_decay if parameter.ndim > 1 else 0.0
                gradient = (gradients[name] * scale).clamp(-most, most) + decay * parameter
                momentum[name] = config.momentum * momentum[name] + gradient
                parameter -= plan.learning_rate * (gradient + config.momentum * momentum[name])
    weights = {**model.state_dict(), **_mean(statistics)}
    return {"weights": _kept(weights), "momentum": _kept(momentum), "norms": norms}


@torch.no_grad()
def _picked(model: Supernet, plan: StepPlan, batches: Sequence[tuple[Tensor, Tensor]]) -> StepPlan:
    """The plan with the candidates of least or greatest loss, which is a mean over the parts of the batch."""
    slots = []
    for slot in plan.slots:
        if slot.pick:
            losses = [
                sum(float(F.cross_entropy(model(x, each), y, label_smoothing=0.1)) for x, y in batches)
                for each in slot.candidates
            ]
            wanted = min(losses) if slot.pick.which == "best" else max(losses)
            slot = replace(slot, subnet=slot.candidates[losses.index(wanted)])
        slots.append(slot)
    return replace(plan, slots=tuple(slots))


def _kept(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}


def _add_gradients(
    model: Supernet, teacher: Supernet | None, plan: StepPlan, images: Tensor, labels: Tensor, parts: int
) -> None:
    """Of each subnet's loss times ε; those that learn from the full model come after it.

    Their gradients meet at the end of the trunk, which gets the sum: in the order of the plan, as bfloat16 rounds it.
    """
    features = model.trunk(images, full=any(slot.name == "full" for slot in plan.slots)).features
    end = features.detach().requires_grad_()
    target = torch.zeros((), device=images.device)
    if teacher is not None:
        with torch.no_grad():
            target = teacher(images, teacher.space.largest()).softmax(1)  # of batch statistics
    for slot in plan.slots:
        logits = model(Trunk(end), slot.subnet)
        if slot.name == "full" and teacher is None:
            target = logits.detach().softmax(1)
        if isinstance(slot.loss, LabelCrossEntropy):
            loss = F.cross_entropy(logits, labels, label_smoothing=0.1)
        elif isinstance(slot.loss, AlphaDivergence):
            loss = _alpha_divergence(target, logits)
        else:
            loss = -(target * logits.log_softmax(1)).sum(1).mean()
        (slot.scale * loss / parts).backward()
    if features.requires_grad:  # else the subnets share the images alone
        features.backward(end.grad)


def _alpha_divergence(p: Tensor, logits: Tensor) -> Tensor:
    """With α = −1: D = ½ Σ q (min(q/p, 5) − 1), ρ = ½ − min(q/p, 5); with α = 1: Σ p ln(p/q), and cross-entropy."""
    q = logits.detach().softmax(1)
    power = (q / p).clamp(max=5)
    inverse, plain = 0.5 * (q * (power - 1)).sum(1), (p * (p / q).log()).sum(1)
    factors = torch.where((inverse > plain)[:, None], q * (0.5 - power), p)
    return -(factors * logits.log_softmax(1)).sum(1).mean()


def _mean(statistics: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.stack([own[name] for own in statistics]).mean(0) for name in statistics[0]}


@torch.no_grad()
def _exchange_statistics(model: Supernet, own: dict[str, Tensor]) -> None:
    for name, buffer in model.named_buffers():
        held = buffer.clone()
        buffer.copy_(own[name])
        own[name] = held
