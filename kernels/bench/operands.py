"""The tensors that an operation is measured on."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from kernels.bench.cases import Case, reduced

EPSILON = 1e-5  # of batch norm
Operands = dict[str, Tensor]
KNOWN_STATISTICS = ("conv", "squeeze_excite")  # operations whose input's batch norm is given its statistics
# Where an activation's slope jumps.
_KINKS = {"relu": (0.0,), "relu6": (0.0, 6.0), "h_swish": (-3.0, 3.0)}
ACTIVATIONS = ("x", "shortcut")  # operands [N, C, H, W] in the activations' dtype; all others are float32


def operands(case: Case, device: torch.device, dtype: torch.dtype, seed: int = 0) -> Operands:
    """Random operands of `case`, contiguous.

    Weights are a quarter wider than the case reads, so that its leading block is a slice as a subnet's is; depthwise
    kernels are the centre of 7×7 ones.
    """
    generator = torch.Generator(device).manual_seed(seed)

    def normal(*shape: int, mean: float = 0.0, deviation: float = 1.0) -> Tensor:
        return torch.randn(*shape, generator=generator, device=device) * deviation + mean

    wide_in, wide_out = case.inputs * 5 // 4, case.outputs * 5 // 4
    if case.operation == "cross_entropy":
        return {"logits": normal(case.batch, case.inputs), "teacher": normal(case.batch, case.inputs)}
    if case.operation == "linear":
        weight = normal(wide_out, wide_in, deviation=case.inputs**-0.5)
        return {"rows": normal(case.batch, case.inputs).to(dtype), "weight": weight, "bias": normal(wide_out)}
    normalised = case.outputs if case.operation == "residual" else case.inputs
    made = {
        "x": normal(case.batch, case.inputs, case.side, case.side, mean=0.5),
        "gamma": normal(normalised * 5 // 4, mean=1.0, deviation=0.1),
        "beta": normal(normalised * 5 // 4, deviation=0.3),
    }
    if case.operation == "depthwise":
        made["weight"] = normal(wide_in, 1, 7, 7, deviation=1 / case.kernel)
    elif case.operation == "squeeze_excite":
        inner = reduced(case.inputs) * 5 // 4
        made["reduce_weight"] = normal(inner, wide_in, deviation=case.inputs**-0.5)
        made["reduce_bias"] = normal(inner)
        made["expand_weight"] = normal(wide_in, inner, deviation=inner**-0.5)
        made["expand_bias"] = normal(wide_in)
    else:
        size, products = case.kernel, case.inputs * case.kernel**2
        made["weight"] = normal(wide_out, wide_in, size, size, deviation=products**-0.5)
    if case.operation == "residual":
        made["shortcut"] = normal(case.batch, case.outputs, case.side, case.side)
    _away_from_kinks(made, case, dtype)
    for name in ACTIVATIONS:
        if name in made:
            made[name] = made[name].to(dtype)
    return made


def _away_from_kinks(made: Operands, case: Case, dtype: torch.dtype) -> None:
    """Move what the activation gets from where its slope jumps.

    There the last bit decides which slope a contender takes, and one such element differs by more than all rounding.
    """
    margin = 1e-3 if dtype == torch.float32 else 0.03
    channels = case.outputs if case.operation == "residual" else case.inputs
    x, gamma, beta = made["x"], made["gamma"][:channels], made["beta"][:channels]
    if case.operation == "residual":
        y = F.conv2d(x, made["weight"][: case.outputs, : case.inputs])
        y = F.batch_norm(y, None, None, gamma, beta, True, 0, EPSILON) + made["shortcut"]
        made["shortcut"] += 4 * margin * _near(y, case.activation, margin)
        return
    if case.operation in KNOWN_STATISTICS:
        deviation, y = 1.0, x * gamma[:, None, None] + beta[:, None, None]
    else:
        y = F.batch_norm(x, None, None, gamma, beta, True, 0, EPSILON)
        deviation = x.std((0, 2, 3), keepdim=True)
    made["x"] = x + 4 * margin * deviation / gamma[:, None, None] * _near(y, case.activation, margin)


def _near(y: Tensor, activation: str, margin: float) -> Tensor:
    """One where an element of y is nearer to a kink than the margin, else zero."""
    return sum(((y - kink).abs() < margin for kink in _KINKS.get(activation, ())), torch.zeros_like(y))
