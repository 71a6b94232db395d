"""Whether contenders compute the same step: losses and gradients against plain PyTorch in float64."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.bench.contenders import StepContender, batch, build, exact
from pipeline.methods.phases import StepPlan
from pipeline.supernet.space import Space

_IMAGES = 8

# Greatest relative errors. Gradients are less exact than float32: a value next to the kink of a ReLU or h-swish, of
# which a batch has millions, gets one slope or the other by its last bit. Plain PyTorch itself is off by up to 0.01
# (MobileNetV3 at 32 px, 8 images) or 0.04 (ResNet50D), in bfloat16 by 0.6; a forgotten term by about 1. So gradients
# are compared in float32 only. In bfloat16, where losses are off by 1e-4, gradients are checked by operation:
# `deps bench kernels`.
_LOSS, _GRADIENT, _BF16_LOSS = 1e-4, 0.1, 0.01


@dataclass(frozen=True)
class Agreement:
    """One contender's first step against the truth.

    Attributes:
        loss: the worst subnet's |difference| / |truth|.
        gradient: the worst parameter's ‖difference‖ / ‖truth‖; None where it was not compared.
        complaint: what is wrong, in a few words; None where nothing is.
    """

    loss: float
    gradient: float | None
    complaint: str | None


def agreements(
    contenders: Mapping[str, StepContender],
    space: Space,
    plan: StepPlan,
    weights: Mapping[str, Tensor],
    device: torch.device,
    compiled_batch: int,
) -> dict[str, Agreement]:
    """Let each contender, which has not taken a step yet, take its first one, and compare.

    On CUDA, where they are timed in bfloat16, losses and gradients are compared on float32 twins of them, and on those
    that are timed the losses alone.

    Args:
        compiled_batch: number of images for the latter: what is compiled is checked at a size that is timed.
    """
    images, labels = batch(space, _IMAGES, device)
    truth = _FirstStep(exact(space, plan, weights, device), images.double(), labels)
    if device.type == "cpu":
        return {name: _compare(_FirstStep(each, images, labels), truth) for name, each in contenders.items()}
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        twins = {
            name: _FirstStep(build(name, space, plan, weights, device, float32=True), images, labels)
            for name, each in contenders.items()
            if each.shares_weights
        }
    found = {name: _compare(twin, truth) for name, twin in twins.items()}
    images, labels = batch(space, compiled_batch, device)
    truth = _FirstStep(exact(space, plan, weights, device), images.double(), labels)
    for name, each in contenders.items():
        if name not in found or found[name].complaint is None:
            compared = _compare(_FirstStep(each, images, labels), truth, _BF16_LOSS, gradients=False)
            gradient = found[name].gradient if name in found else None
            found[name] = Agreement(compared.loss, gradient, compared.complaint)
    return {name: found[name] for name in contenders}


class _FirstStep:
    """Losses of the subnets and gradient by parameter of a contender's first step."""

    def __init__(self, contender: StepContender, images: Tensor, labels: Tensor) -> None:
        self.losses: Sequence[float] = [float(loss) for loss in contender.step(contender.lay_out(images), labels)]
        self.gradient = contender.first_gradient()


def _compare(found: _FirstStep, truth: _FirstStep, tolerance: float = _LOSS, gradients: bool = True) -> Agreement:
    loss = max(_relative(*pair) for pair in zip(found.losses, truth.losses, strict=True))
    # `not <=` also catches what is no number.
    if not loss <= tolerance:
        return Agreement(loss, None, f"a loss is off by {loss:.1e}, {tolerance:.0e} is allowed")
    if not (gradients and found.gradient):
        return Agreement(loss, None, None)
    worst, error = _worst(found.gradient, truth.gradient)
    if not error <= _GRADIENT:
        return Agreement(loss, error, f"the gradient of {worst} is off by {error:.1e}, {_GRADIENT} is allowed")
    return Agreement(loss, error, None)


def _relative(found: float, truth: float) -> float:
    error = abs(found - truth) / abs(truth)
    return error if error == error else float("inf")


def _worst(found: Mapping[str, Tensor], truth: Mapping[str, Tensor]) -> tuple[str, float]:
    """The parameter with the greatest relative error.

    Some gradients are zero but for rounding (a shift before batch norm changes nothing), so an error counts against a
    thousandth of the whole gradient at least.
    """
    least = 1e-3 * float(torch.stack([gradient.norm() for gradient in truth.values()]).norm())
    errors = {
        name: float((found[name].double() - truth[name]).norm()) / max(float(truth[name].norm()), least)
        for name in truth
    }
    worst = max(errors, key=lambda name: float("inf") if errors[name] != errors[name] else errors[name])
    return worst, errors[worst]
