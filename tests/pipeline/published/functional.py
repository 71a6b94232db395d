"""What published networks compute, from their state dicts by the rules of the papers: plain functions, none of ours.

Evaluation mode, with the leading part of the running statistics.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from tests.pipeline.published.layouts import r8

State = Mapping[str, Tensor]
Activation = Callable[[Tensor], Tensor]


class Stage(NamedTuple):
    """What a subnet has of a stage: width, stride, whether gated, activation, and (kernel, expand) of each block."""

    width: int
    stride: int
    gated: bool
    activation: Activation
    blocks: Sequence[tuple[int, float]]


def convolved(state: State, name: str, x: Tensor, outputs: int, stride: int = 1) -> Tensor:
    weight = state[f"{name}.weight"][:outputs, : x.shape[1]]
    return F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)


def normed(state: State, name: str, x: Tensor, epsilon: float) -> Tensor:
    parts = (state[f"{name}.{part}"][: x.shape[1]] for part in ("running_mean", "running_var", "weight", "bias"))
    mean, variance, weight, bias = (part[None, :, None, None] for part in parts)
    return (x - mean) / (variance + epsilon).sqrt() * weight + bias


def kernels_of(state: State, name: str, channels: int, kernel: int) -> Tensor:
    """The kernels that a subnet convolves each channel with."""
    weight = state[f"{name}.weight"][:channels]
    module = name.removesuffix(".conv")
    while weight.shape[-1] > kernel:
        side = weight.shape[-1] - 2
        centre = weight[:, :, 1:-1, 1:-1].reshape(len(weight), side * side)
        matrix = state.get(f"{module}.{side + 2}to{side}_matrix")
        if matrix is not None:
            centre = torch.einsum("ij,cj->ci", matrix, centre)
        weight = centre.reshape(len(weight), 1, side, side)
    return weight


def depthwise(state: State, name: str, x: Tensor, kernel: int, stride: int) -> Tensor:
    weight = kernels_of(state, name, x.shape[1], kernel)
    return F.conv2d(x, weight, stride=stride, padding=kernel // 2, groups=x.shape[1])


def gate(state: State, name: str, x: Tensor) -> Tensor:
    reduced = r8(x.shape[1] // 4)
    y = x.mean((2, 3), keepdim=True)
    for layer, outputs in (("reduce", reduced), ("expand", x.shape[1])):
        weight = state[f"{name}.fc.{layer}.weight"][:outputs, : y.shape[1]]
        y = F.conv2d(y, weight, state[f"{name}.fc.{layer}.bias"][:outputs])
        y = y.relu() if layer == "reduce" else F.relu6(y + 3) / 6
    return x * y


def linear(state: State, name: str, x: Tensor) -> Tensor:
    return x @ state[f"{name}.weight"][:, : x.shape[1]].T + state[f"{name}.bias"]


def h_swish(x: Tensor) -> Tensor:
    return x * F.relu6(x + 3) / 6


def swish(x: Tensor) -> Tensor:
    return x * x.sigmoid()


def inverted(
    state: State, at: str, x: Tensor, stage: Stage, block: tuple[int, float], stride: int, eps: float
) -> Tensor:
    """A block of double-wrapped layers, without its shortcut."""
    kernel, expand = block
    if expand != 1:
        x = convolved(state, f"{at}.inverted_bottleneck.conv.conv", x, r8(round(x.shape[1] * expand)))
        x = stage.activation(normed(state, f"{at}.inverted_bottleneck.bn.bn", x, eps))
    x = depthwise(state, f"{at}.depth_conv.conv.conv", x, kernel, stride)
    x = stage.activation(normed(state, f"{at}.depth_conv.bn.bn", x, eps))
    if stage.gated:
        x = gate(state, f"{at}.depth_conv.se", x)
    x = convolved(state, f"{at}.point_linear.conv.conv", x, stage.width)
    return normed(state, f"{at}.point_linear.bn.bn", x, eps)


def mobile(state: State, images: Tensor, stages: Sequence[Stage], depth: int, eps: float) -> Tensor:
    """OFA's MobileNetV3 (which has a final expand layer) and Proxyless; `depth`: the most blocks of a stage."""
    is_v3 = "final_expand_layer.conv.weight" in state
    first = torch.relu if is_v3 else F.relu6
    x = convolved(state, "first_conv.conv", images, 10**6, stride=2)
    x = (h_swish if is_v3 else F.relu6)(normed(state, "first_conv.bn", x, eps))
    y = F.conv2d(x, state["blocks.0.conv.depth_conv.conv.weight"], padding=1, groups=x.shape[1])
    y = first(normed(state, "blocks.0.conv.depth_conv.bn", y, eps))
    y = convolved(state, "blocks.0.conv.point_linear.conv", y, 10**6)
    y = normed(state, "blocks.0.conv.point_linear.bn", y, eps)
    x = x + y if is_v3 else y
    for number, stage in enumerate(stages):
        for position, block in enumerate(stage.blocks):
            stride = stage.stride if position == 0 else 1
            at = f"blocks.{1 + number * depth + position}.conv"
            y = inverted(state, at, x, stage, block, stride, eps)
            x = x + y if stride == 1 and x.shape == y.shape else y
    if is_v3:
        x = convolved(state, "final_expand_layer.conv", x, 10**6)
        x = h_swish(normed(state, "final_expand_layer.bn", x, eps)).mean((2, 3), keepdim=True)
        x = h_swish(convolved(state, "feature_mix_layer.conv", x, 10**6))
    else:
        x = convolved(state, "feature_mix_layer.conv", x, 10**6)
        x = F.relu6(normed(state, "feature_mix_layer.bn", x, eps))
    return linear(state, "classifier.linear", x.mean((2, 3)))


def resnet(
    state: State, images: Tensor, stem: tuple[int, bool, int], stages: Sequence[tuple[int, Sequence[float]]]
) -> Tensor:
    """OFA's ResNet50D; `stem`: middle width, whether its block is there, width; of stages: width and expand ratios."""

    def layer(name: str, x: Tensor, outputs: int, stride: int = 1) -> Tensor:
        return normed(state, f"{name}.bn.bn", convolved(state, f"{name}.conv.conv", x, outputs, stride), 1e-5)

    middle, has_block, width = stem
    x = layer("input_stem.0", images, middle, 2).relu()
    if has_block:
        x = x + layer("input_stem.1.conv", x, middle).relu()
    x = F.max_pool2d(layer("input_stem.2", x, width).relu(), 3, 2, 1)
    for first, stride, (outputs, ratios) in zip((0, 4, 8, 14), (1, 2, 2, 2), stages, strict=True):
        for position, ratio in enumerate(ratios):
            at, middle = f"blocks.{first + position}", r8(round(outputs * ratio))
            y = layer(f"{at}.conv1", x, middle).relu()
            y = layer(f"{at}.conv2", y, middle, stride if position == 0 else 1).relu()
            y = layer(f"{at}.conv3", y, outputs)
            if position == 0:
                x = layer(f"{at}.downsample", F.avg_pool2d(x, stride, stride, 0, ceil_mode=True), outputs)
            x = (x + y).relu()
    return linear(state, "classifier.linear.linear", x.mean((2, 3)))


def attentive(state: State, images: Tensor, stem: int, stages: Sequence[Stage], last: int, resolution: int) -> Tensor:
    """AttentiveNAS's, which resizes its images."""
    state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    x = images
    if x.shape[-1] != resolution:
        x = F.interpolate(x, (resolution, resolution), mode="bicubic", align_corners=False)
    x = swish(normed(state, "first_conv.bn.bn", convolved(state, "first_conv.conv.conv", x, stem, 2), 1e-5))
    first = 0
    for most, stage in zip((2, 5, 6, 6, 8, 8, 2), stages, strict=True):
        for position, block in enumerate(stage.blocks):
            stride, number = stage.stride if position == 0 else 1, first + position
            y = inverted(state, f"blocks.{number}.mobile_inverted_conv", x, stage, block, stride, 1e-5)
            if stride == 2:
                x = F.avg_pool2d(x, 2, 2, x.shape[-1] % 2)
            if x.shape[1] != y.shape[1]:
                x = convolved(state, f"blocks.{number}.shortcut.conv.conv", x, y.shape[1])
            x = x + y
        first += most
    x = convolved(state, "last_conv.final_expand_layer.conv.conv", x, 6 * x.shape[1])
    x = swish(normed(state, "last_conv.final_expand_layer.bn.bn", x, 1e-5)).mean((2, 3), keepdim=True)
    x = swish(convolved(state, "last_conv.feature_mix_layer.conv.conv", x, last))
    return linear(state, "classifier.linear.linear", x.flatten(1))
