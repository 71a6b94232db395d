"""Layers whose weights are shared by all subnets: each call says which leading block of them is active.

Each call also says whose operations compute it (`kernels.dispatch`). What they pass to each other is theirs: in the
reference a tensor, in the fused ones an output whose batch norm and activation are still to be applied.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kernels.operations import Operations
from kernels.reference import centre_kernel


class ElasticConv(nn.Conv2d):
    """Convolution of several pixels over all channels, without bias; the active input channels are those of `x`."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int) -> None:
        super().__init__(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
        nn.init.kaiming_normal_(self.weight, mode="fan_out")

    def forward(self, operations: Operations, x: Any, outputs: int) -> Any:
        return operations.conv(x, self.weight, outputs, self.stride[0])


class ElasticPointwise(nn.Module):
    """1×1 convolution without bias; the active input channels are those of `x`."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, 1, 1))
        _he_fan_out(self.weight)

    def forward(self, operations: Operations, x: Any, outputs: int) -> Any:
        return operations.pointwise_conv(x, self.weight, outputs)


class ElasticDepthwise(nn.Module):
    """Depthwise convolution whose smaller kernels are transformed centres of the largest.

    Args:
        kernels: legal kernel sizes, ascending. Between neighbours lies a learned matrix, identity at the start.
    """

    def __init__(self, channels: int, kernels: tuple[int, ...]) -> None:
        super().__init__()
        largest = kernels[-1]
        self.weight = nn.Parameter(torch.empty(channels, 1, largest, largest))
        _he_fan_out(self.weight, groups=channels)
        steps = zip(reversed(kernels[1:]), reversed(kernels[:-1]), strict=True)
        self.transforms = nn.ParameterDict(
            {f"{larger}to{smaller}": nn.Parameter(torch.eye(smaller**2)) for larger, smaller in steps}
        )

    def forward(self, operations: Operations, x: Any, kernel: int, stride: int) -> Any:
        return operations.depthwise_conv(x, self.weight, kernel, stride, dict(self.transforms.items()))

    def active_weight(self, channels: int, kernel: int) -> Tensor:
        """The weight [channels, 1, kernel, kernel] that a subnet of this kernel size convolves with."""
        return centre_kernel(self.weight[:channels], kernel, dict(self.transforms.items()))


class ElasticBatchNorm(nn.Module):
    """Batch norm over leading channels. Its running statistics are the full model's alone."""

    STATE = ("weight", "bias", "running_mean", "running_var")
    momentum = 0.1
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, epsilon: float) -> None:
        super().__init__()
        self.epsilon = epsilon
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, operations: Operations, x: Any, full: bool, activation: str) -> Any:
        """Normalise and activate; in training by x's own statistics, which `full` alone adds to the running ones."""
        running = (self.running_mean, self.running_var) if full or not self.training else None
        return operations.batch_norm(
            x, self.weight, self.bias, running, self.training, self.momentum, self.epsilon, activation
        )


class ElasticLinear(nn.Linear):
    """Linear layer; the active inputs are those of `x`."""

    def forward(self, operations: Operations, x: Tensor, outputs: int) -> Tensor:
        return operations.linear(x, self.weight, self.bias, outputs)


class ElasticSqueezeExcite(nn.Module):
    """Squeeze-and-excite (Hu et al., CVPR 2018) over leading channels, with a leading block of its own width."""

    def __init__(self, channels: int, reduced: int) -> None:
        super().__init__()
        self.reduce = nn.Linear(channels, reduced)
        self.expand = nn.Linear(reduced, channels)

    def forward(self, operations: Operations, x: Any, reduced: int) -> Tensor:
        return operations.squeeze_excite(
            x, (self.reduce.weight, self.reduce.bias), (self.expand.weight, self.expand.bias), reduced
        )


def resize(images: Tensor, side: int) -> Tensor:
    """Images [N, 3, H, W] in bicubic interpolation without antialiasing; those of width `side` as they are."""
    if images.shape[-1] == side:
        return images
    return F.interpolate(images, (side, side), mode="bicubic", align_corners=False)


def leading(tensor: Tensor, *sizes: int) -> Tensor:
    """The leading block of `tensor`: that many along each of its first axes. All of it is the tensor itself."""
    if tensor.shape[: len(sizes)] == sizes:
        return tensor
    return tensor[tuple(slice(size) for size in sizes)]


def _he_fan_out(weight: nn.Parameter, groups: int = 1) -> None:
    fan_out = weight.shape[0] * weight.shape[2] * weight.shape[3] // groups
    nn.init.normal_(weight, std=(2 / fan_out) ** 0.5)
