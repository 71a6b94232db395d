"""A step of each method in float64: its gradient is the hand-written sum over its subnets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter
from torch import Tensor

from pipeline.engines.optimizer import SgdConfig
from pipeline.engines.single import SingleEngine
from pipeline.methods import MethodConfig
from pipeline.methods.entries import Entry, forget_momentum
from pipeline.methods.losses import LossConfig
from pipeline.methods.phases import StepPlan
from pipeline.methods.schedule import Schedule
from pipeline.supernet.networks import NETWORKS, named
from pipeline.supernet.supernet import Supernet
from pipeline.training.sandwich import StepResult, sandwich_step
from tests.pipeline.supernet.test_supernet import images, lively

SPACE = NETWORKS["mobilenet_v3_digits"]
PAIRED = named("mobilenet_v3_digits", expands=(3, 6)).space()
OPEN = NETWORKS["attentive_nas_digits"]
LABELS = torch.tensor([3, 1, 4, 1])
PIXELS = images().double()
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]  # of logits, the full model's logits, the teacher's


def labels(z: Tensor, full: Tensor, teacher: Tensor) -> Tensor:
    """0.9 on the label, 0.1 spread over all classes."""
    target = torch.full_like(z, 0.1 / 10)
    target[torch.arange(4), LABELS] += 0.9
    return -(target * z.log_softmax(1)).sum(1).mean()


def soft(z: Tensor, full: Tensor, teacher: Tensor) -> Tensor:
    return -(full.softmax(1) * z.log_softmax(1)).sum(1).mean()


def taught(z: Tensor, full: Tensor, teacher: Tensor) -> Tensor:
    return labels(z, full, teacher) - 0.7 * (teacher.softmax(1) * z.log_softmax(1)).sum(1).mean()


def alpha(z: Tensor, full: Tensor, teacher: Tensor) -> Tensor:
    """With α = −1: D = ½ Σ q (min(q/p, 5) − 1), ρ = ½ − min(q/p, 5); with α = 1: Σ p ln(p/q), and cross-entropy."""
    p, q = full.softmax(1), z.detach().softmax(1)
    power = (q / p).clamp(max=5)
    inverse, plain = 0.5 * (q * (power - 1)).sum(1), (p * (p / q).log()).sum(1)
    factors = torch.where((inverse > plain)[:, None], q * (0.5 - power), p)
    return -(factors * z.log_softmax(1)).sum(1).mean()


def plan(space: Any, step: int, starts: tuple[Entry, ...] = (), **settings: Any) -> StepPlan:
    content = {"duration": "20 steps", "learning_rate": {"base": 0.1}, **settings}
    method = TypeAdapter(MethodConfig).validate_python(content)
    return Schedule(method, space, steps_per_epoch=10, seed=0, loss=LossConfig(), start=starts).at(step)


OFA = {"name": "ofa", "kd_ratio": 0.7, "progression": ["teacher", "kernel", "depth 1", "expand 2"]}
ATTENTIVE = {"name": "attentive_nas", "sampling": {"name": "attentive", "table": 40}}
FINETUNED = {"name": "single", "subnet": "d2.1-k3-e4-r32", "kd_ratio": 0.7}
METHODS: dict[str, tuple[StepPlan, list[Loss]]] = {
    "ofa teacher": (plan(SPACE, 0, **OFA), [labels]),
    "ofa kernel": (plan(SPACE, 10, **OFA), [taught]),
    "ofa expand": (plan(SPACE, 18, **OFA), [taught] * 4),
    "compofa": (plan(PAIRED, 18, name="compofa", kd_ratio=0.7, kernels=[3]), [taught] * 4),
    "bignas": (plan(SPACE, 3, name="bignas"), [labels, soft, soft, soft]),
    "alpha_net": (plan(OPEN, 3, name="alpha_net"), [labels, alpha, alpha, alpha]),
    "attentive_nas": (plan(OPEN, 3, **ATTENTIVE), [labels, soft, soft, soft]),
    "single": (plan(SPACE, 3, name="single", subnet="d2.1-k3-e4-r32"), [labels]),
    "single, taught": (plan(SPACE, 3, (forget_momentum,), **FINETUNED), [taught]),
}


def trained(plan: StepPlan, supernet: Supernet, teacher: Supernet) -> tuple[StepResult, dict[str, Tensor]]:
    """What a step gives, and its gradients."""
    engine = SingleEngine(supernet, SgdConfig())
    engine.load_state(replace(engine.full_state(), teacher=teacher.state_dict()))
    seen: dict[str, Tensor] = {}
    engine.optimizer.register_step_pre_hook(
        lambda *_: seen.update({name: each.grad.clone() for name, each in supernet.named_parameters()})
    )
    return sandwich_step(engine, plan, PIXELS, LABELS), seen


@pytest.mark.parametrize("method", METHODS)
def test_the_gradient_is_the_hand_written_sum(method: str) -> None:
    this, losses = METHODS[method]
    space = {"alpha_net": OPEN, "attentive_nas": OPEN, "compofa": PAIRED}.get(method, SPACE)
    supernet, reference, teacher = (lively(space, seed).double() for seed in (0, 0, 4))
    result, seen = trained(this, supernet, teacher)
    assert [slot.name for slot in result.plan.slots] == [slot.name for slot in this.slots]

    with torch.no_grad():
        of_teacher = teacher.train()(PIXELS, space.on_images(space.largest(), 32))
    full = reference(PIXELS, space.largest())
    terms = [
        loss(reference(PIXELS, slot.subnet), full.detach(), of_teacher)
        for slot, loss in zip(result.plan.slots, losses, strict=True)
    ]
    names, parameters = zip(*reference.named_parameters(), strict=True)
    gradients = torch.autograd.grad(sum(terms), parameters, allow_unused=True)
    for name, gradient in zip(names, gradients, strict=True):
        wanted = torch.zeros_like(seen[name]) if gradient is None else gradient
        torch.testing.assert_close(seen[name], wanted, atol=1e-12, rtol=1e-9, msg=name)
    torch.testing.assert_close(torch.stack(result.losses), torch.stack(terms).detach(), atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("which", ["best", "worst"])
def test_the_candidate_is_trained_whose_loss_by_labels_is_least_or_greatest_and_the_others_leave_no_trace(
    which: str,
) -> None:
    sampling = {"name": "attentive", "table": 40, "pick": which, "candidates": 5}
    this = plan(OPEN, 3, name="attentive_nas", sampling=sampling)
    # The full model among them: it is computed as any candidate is, without dropout, its statistics not kept.
    slots = list(this.slots)
    slots[1] = replace(slots[1], candidates=(*slots[1].candidates, OPEN.largest()))
    this = replace(this, slots=tuple(slots))
    supernet, reference = (lively(OPEN, dropout=rate).double() for rate in (0.0, 0.0))
    result, _ = trained(this, supernet, lively(OPEN, 4).double())
    none = torch.zeros(())
    for before, after in zip(this.slots, result.plan.slots, strict=True):
        if before.candidates:
            with torch.no_grad():
                losses = [float(labels(reference(PIXELS, each), none, none)) for each in before.candidates]
            assert len({*losses}) > 3
            wanted = min(losses) if which == "best" else max(losses)
            assert after.subnet == before.candidates[losses.index(wanted)]
        else:
            assert after == before
    once = lively(OPEN).double()
    once(PIXELS, OPEN.largest())  # the full model's own sub-step
    if OPEN.largest() not in [slot.subnet for slot in result.plan.slots[1:]]:
        for name, buffer in once.named_buffers():
            torch.testing.assert_close(supernet.get_buffer(name), buffer, atol=1e-12, rtol=1e-12)


def test_processes_pick_by_the_mean_of_their_losses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here another process has other losses; what is picked is what the mean says."""
    this = plan(OPEN, 3, **ATTENTIVE)
    place = {0: 2, 1: 0}  # of the candidate with the least mean, by slot

    def mean(losses: Tensor) -> Tensor:
        assert losses.shape == (6,)
        means = torch.ones(6)
        for slot, candidate in place.items():
            means[3 * slot + candidate] = 0.5
        return means

    monkeypatch.setattr("pipeline.training.candidates.mean_over_processes", mean)
    result, _ = trained(this, lively(OPEN).double(), lively(OPEN).double())
    picked = [slot.subnet for slot in result.plan.slots[1:3]]
    assert picked == [this.slots[1 + slot].candidates[candidate] for slot, candidate in place.items()]
