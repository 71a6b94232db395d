"""Operations of an elastic layer in plain PyTorch: the truth that every faster implementation is compared with.

All read the leading block of the full-size weight, so gradients accumulate in that block of the full-size
gradient. Activations are float [N, C, H, W], preferably in the channels_last memory format.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor

name = "reference"  # among the implementations of `kernels.operations.Operations`

ACTIVATIONS = {"identity": lambda x: x, "relu": F.relu, "relu6": F.relu6, "h_swish": F.hardswish, "swish": F.silu}


def pointwise_conv(x: Tensor, weight: Tensor, outputs: int) -> Tensor:
    """1×1 convolution of x [N, I, H, W] with the leading [outputs, I] of weight [O, I_max, 1, 1]."""
    return F.conv2d(x, weight[:outputs, : x.shape[1]])


def conv(x: Tensor, weight: Tensor, outputs: int, stride: int) -> Tensor:
    """Convolution of x [N, I, H, W] over all channels with the leading [outputs, I] of weight [O, I_max, k, k].

    Padding is k // 2 on each side.
    """
    return F.conv2d(x, weight[:outputs, : x.shape[1]], stride=stride, padding=weight.shape[-1] // 2)


def centre_kernel(weight: Tensor, kernel: int, transforms: Mapping[str, Tensor]) -> Tensor:
    """The k×k depthwise kernels cut from weight [C, 1, K, K], innermost last.

    Each step from one size to the next smaller one takes the centre and, where `transforms` has the matrix
    "LARGERtoSMALLER" [s², s²], multiplies it in (learned kernel transforms: OFA, Cai et al., ICLR 2020, §3.3).

    Args:
        transforms: matrices by name; sizes have one digit, so that the names sort.
    """
    for name in sorted(transforms, reverse=True):
        smaller = int(name.split("to")[1])
        if smaller < kernel:
            break
        centre = _centre(weight, smaller)
        weight = F.linear(centre.flatten(1), transforms[name]).view(centre.shape)
    return _centre(weight, kernel)


def _centre(weight: Tensor, kernel: int) -> Tensor:
    margin = (weight.shape[-1] - kernel) // 2
    return weight[:, :, margin : margin + kernel, margin : margin + kernel]


def depthwise_conv(x: Tensor, weight: Tensor, kernel: int, stride: int, transforms: Mapping[str, Tensor]) -> Tensor:
    """Depthwise k×k convolution of x [N, C, H, W] with the centre of the leading C kernels of weight [C_max, 1, K, K].

    Padding is k // 2 on each side.
    """
    channels = x.shape[1]
    active = centre_kernel(weight[:channels], kernel, transforms)
    return F.conv2d(x, active, stride=stride, padding=kernel // 2, groups=channels)


def batch_norm(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    running: tuple[Tensor, Tensor] | None,
    training: bool,
    momentum: float,
    epsilon: float,
    activation: str,
) -> Tensor:
    """Batch norm of x [N, C, H, W] by the leading C entries of every full-size vector, and an activation.

    Args:
        running: mean and variance to update in training and to apply otherwise; None in training leaves them alone.
        activation: one of `ACTIVATIONS`.
    """
    channels = x.shape[1]
    mean, variance = (None, None) if running is None else (running[0][:channels], running[1][:channels])
    y = F.batch_norm(x, mean, variance, weight[:channels], bias[:channels], training, momentum, epsilon)
    return ACTIVATIONS[activation](y)


def squeeze_excite(x: Tensor, reduce: tuple[Tensor, Tensor], expand: tuple[Tensor, Tensor], reduced: int) -> Tensor:
    """Scale the channels of x [N, C, H, W] by hard-sigmoid(expand(relu(reduce(mean over H, W)))).

    Args:
        reduce, expand: (weight, bias) of the linear layers, full-size [R_max, C_max] and [C_max, R_max].
        reduced: active width between them.
    """
    channels = x.shape[1]
    squeezed = x.mean((2, 3))  # [N, C]
    hidden = F.relu(F.linear(squeezed, reduce[0][:reduced, :channels], reduce[1][:reduced]))
    gate = F.hardsigmoid(F.linear(hidden, expand[0][:channels, :reduced], expand[1][:channels]))
    return x * gate[:, :, None, None]


def settle(x: Tensor, shortcut: Tensor | None, activation: str = "identity") -> Tensor:
    """The end of a block: the activation, one of `ACTIVATIONS`, of x, plus `shortcut` where there is one."""
    return ACTIVATIONS[activation](x if shortcut is None else x + shortcut)


def pool(x: Tensor) -> Tensor:
    """Mean of x [N, C, H, W] over H and W: [N, C]."""
    return x.mean((2, 3))


def linear(x: Tensor, weight: Tensor, bias: Tensor | None, outputs: int) -> Tensor:
    """Linear layer on x [N, I] with the leading [outputs, I] of weight [O, I_max]; bias [O]."""
    return F.linear(x, weight[:outputs, : x.shape[1]], None if bias is None else bias[:outputs])
