"""Losses in Triton: each with its gradient, from one read of the logits."""

# A launch takes options that the kernel does not have, and Triton's sums are tensors.
# pyright: reportOperatorIssue=false, reportCallIssue=false

from __future__ import annotations

import math
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable


@triton.jit
def _log_softmax(row, column, classes, temperature):
    """Of the logits at `row`, divided by the temperature; what lies beyond `classes` is minus infinity."""
    logits = tl.load(row + column, column < classes, -float("inf")).to(tl.float32) / temperature
    shifted = logits - tl.max(logits, 0)
    return shifted - tl.log(tl.sum(tl.exp(shifted), 0))


@triton.jit
def _rows(
    logits,  # [batch, classes]
    teacher,  # [batch, classes]
    losses,  # [batch]
    gradient,  # [batch, classes], or None
    logits_stride,
    teacher_stride,
    classes,
    temperature: float,
    factor: float,
    BLOCK: tl.constexpr,
):
    row, column = tl.program_id(0).to(tl.int64), tl.arange(0, BLOCK)
    inside = column < classes
    log_probability = _log_softmax(logits + row * logits_stride, column, classes, temperature)
    target = tl.exp(_log_softmax(teacher + row * teacher_stride, column, classes, temperature))
    # Zero times minus infinity, beyond the last class, would be no number.
    loss = -temperature * temperature * tl.sum(target * tl.where(inside, log_probability, 0.0), 0)
    tl.store(losses + row, loss)
    if gradient is not None:
        value = factor * (tl.exp(log_probability) - target)
        tl.store(gradient + row * classes + column, value.to(gradient.dtype.element_ty), inside)


@triton.jit
def _divergence(log_p, log_q, inside, alpha: tl.constexpr, log_clip: float):
    """See `reference.divergence`: D_α, and the factors q·ρ, of a row; zero beyond the last class."""
    p, q = tl.exp(log_p), tl.exp(log_q)
    # Beyond the last class it is zero, as the difference of infinities would be no number.
    ratio = tl.where(inside, log_p, 0.0) - tl.where(inside, log_q, 0.0)
    if alpha == 1:
        divergence, weights = tl.sum(p * ratio, 0), p
    elif alpha == 0:
        ratio = tl.minimum(ratio, log_clip)
        divergence, weights = -tl.sum(q * ratio, 0), q * (ratio - 1)
    else:
        power, scale = tl.exp(tl.minimum(alpha * ratio, log_clip)), alpha * (alpha - 1)
        divergence, weights = tl.sum(q * (power - 1), 0) / scale, q * (power / alpha + 1 / scale)
    return divergence, weights


@triton.jit
def _alpha_rows(
    logits,  # [batch, classes]
    teacher,  # [batch, classes]
    losses,  # [batch]
    gradient,  # [batch, classes], or None
    logits_stride,
    teacher_stride,
    classes,
    temperature: float,
    factor: float,
    first: tl.constexpr,
    second: tl.constexpr,
    log_clip: float,
    BLOCK: tl.constexpr,
):
    row, column = tl.program_id(0).to(tl.int64), tl.arange(0, BLOCK)
    inside = column < classes
    log_q = _log_softmax(logits + row * logits_stride, column, classes, temperature)
    log_p = _log_softmax(teacher + row * teacher_stride, column, classes, temperature)
    of_first, first_weights = _divergence(log_p, log_q, inside, first, log_clip)
    of_second, second_weights = _divergence(log_p, log_q, inside, second, log_clip)
    weights = tl.where(of_first > of_second, first_weights, second_weights)
    loss = -temperature * temperature * tl.sum(weights * tl.where(inside, log_q, 0.0), 0)
    tl.store(losses + row, loss)
    if gradient is not None:
        value = factor * (tl.exp(log_q) * tl.sum(weights, 0) - weights)
        tl.store(gradient + row * classes + column, value.to(gradient.dtype.element_ty), inside)


class _Distillation(torch.autograd.Function):
    """A loss whose gradient its own kernel of rows writes; `settings` are those of the kernel."""

    @staticmethod
    def forward(
        ctx: Any, rows: Any, logits: Tensor, teacher_logits: Tensor, temperature: float, settings: dict[str, float]
    ) -> Tensor:
        batch, classes = logits.shape
        assert logits.stride(1) == teacher_logits.stride(1) == 1
        losses = torch.empty(batch, dtype=torch.float32, device=logits.device)
        gradient = torch.empty((batch, classes), dtype=logits.dtype, device=logits.device)
        block = triton.next_power_of_2(classes)
        rows[(batch,)](
            logits,
            teacher_logits,
            losses,
            gradient if ctx.needs_input_grad[1] else None,
            logits.stride(0),
            teacher_logits.stride(0),
            classes,
            temperature,
            temperature / batch,
            **settings,
            BLOCK=block,
            # So that a thread holds at most 32 logits of each network, for 32,768 classes.
            num_warps=min(32, max(4, block // 1024)),
            enable_fp_fusion=True,
        )
        ctx.save_for_backward(gradient)
        return losses.mean()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, loss: Tensor) -> Any:
        (gradient,) = ctx.saved_tensors
        return None, gradient * loss, None, None, None


def soft_cross_entropy(logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """See `reference.soft_cross_entropy`; float32 whatever the type of the logits. The teacher gets no gradient.

    Args:
        logits, teacher_logits: [N, classes], float32 or bfloat16. A row is held in registers, which more than 32,768
            classes overflow: still right, but slower.
    """
    return _Distillation.apply(_rows, logits, teacher_logits, temperature, {})


def alpha_divergence(
    logits: Tensor, teacher_logits: Tensor, temperature: float, alphas: tuple[float, float], clip: float
) -> Tensor:
    """See `reference.alpha_divergence`, and `soft_cross_entropy`, of which all else is true here as well."""
    first, second = map(float, alphas)
    settings = {"first": first, "second": second, "log_clip": math.log(clip)}
    return _Distillation.apply(_alpha_rows, logits, teacher_logits, temperature, settings)
