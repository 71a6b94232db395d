"""Whether a contender computes the right thing: its output and all gradients against plain PyTorch in float64."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from kernels.bench.cases import Case
from kernels.bench.contenders import OperationContender, plain_unit
from kernels.bench.operands import Operands, operands

CHECK_BATCH = 4  # shapes are otherwise those that are measured


def leaves(laid_out: Operands) -> Operands:
    """The operands as leaves of a graph; the teacher learns nothing."""
    return {name: value.detach().requires_grad_(name != "teacher") for name, value in laid_out.items()}


def output_gradients(outputs: Sequence[Tensor], seed: int = 1) -> list[Tensor]:
    """Random gradients of a unit's outputs, in their format."""
    generator = torch.Generator(outputs[0].device).manual_seed(seed)
    return [
        torch.empty_like(output).copy_(torch.randn(output.shape, generator=generator, device=output.device))
        for output in outputs
    ]


def gradients(outputs: Sequence[Tensor], of: Operands, given: Sequence[Tensor]) -> Operands:
    """Gradients of the leaves that the outputs depend on."""
    wanted = {name: leaf for name, leaf in of.items() if leaf.requires_grad}
    found = torch.autograd.grad(outputs, list(wanted.values()), given, allow_unused=True)
    return {name: gradient for name, gradient in zip(wanted, found, strict=True) if gradient is not None}


def errors(contender: OperationContender, case: Case, device: torch.device, dtype: torch.dtype) -> dict[str, float]:
    """Relative error |difference| / |truth| (Euclidean norms) of the output and of each operand's gradient."""
    small = replace(case, batch=min(case.batch, CHECK_BATCH))
    made = operands(small, device, dtype)
    given = leaves(contender.lay_out(made))
    outputs = contender.forward(small, given)
    incoming = output_gradients(outputs)
    # A contender may compute in place on what it is given: the truth gets its own copy.
    incoming_truth = [gradient.double() for gradient in incoming]
    found = contender.total(gradients(outputs, given, incoming), given)

    exact = leaves({name: value.double() for name, value in made.items()})
    truth = _with_moments(plain_unit(small, exact))[: len(outputs)]
    wanted = gradients(truth, exact, incoming_truth)
    names = ("output", "moments")
    result = {name: _error(*pair) for name, *pair in zip(names, outputs, truth, strict=False)}
    return result | {f"gradient of {name}": _error(found.get(name), wanted[name]) for name in wanted}


def complaint(contender: OperationContender, found: dict[str, float]) -> str | None:
    """What is wrong, in one line; None where nothing is."""
    # `not <=` also catches what is no number.
    wrong = {name: error for name, error in found.items() if not error <= contender.tolerance}
    if not wrong:
        return None
    name = max(wrong, key=lambda each: wrong[each])
    return f"{contender.name}: {name} is off by {wrong[name]:.1e}, its precision explains {contender.tolerance:.0e}"


def _with_moments(y: Tensor) -> tuple[Tensor, ...]:
    if y.ndim != 4:
        return (y,)
    return y, torch.stack((y.sum((0, 2, 3)), y.square().sum((0, 2, 3))))


def _error(found: Tensor | None, truth: Tensor) -> float:
    if found is None:
        return float("inf")
    return float((found.detach().double() - truth.detach()).norm() / truth.detach().norm())
