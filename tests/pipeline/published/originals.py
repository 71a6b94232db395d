"""Logits of OFA's and AttentiveNAS's supernets straight from a published state dict, in float64.

An independent statement of what the originals compute, in their own names and notation, for comparison with our
supernets: it knows nothing of `pipeline.supernet`. Shapes: images [N, 3, H, W] to logits [N, classes].

Sources: Cai et al., "Once-for-All", ICLR 2020; Wang et al., "AttentiveNAS", CVPR 2021.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

State = Mapping[str, Tensor]
Function = Callable[[Tensor], Tensor]

RESNET50_EXPANDS = (0.2, 0.25, 0.35)
RESNET50_WIDTHS = (0.65, 0.8, 1.0)
RESNET50_FIRST_BLOCKS = (0, 4, 8, 14)
ATTENTIVE_NAS_FIRST_BLOCKS = (0, 2, 7, 13, 19, 27, 35)


def r8(value: float) -> int:
    """The multiple of 8 nearest to `value`, at least 8, and not below nine tenths of it."""
    rounded = max(8, 8 * int((value + 4) // 8))
    return rounded + 8 if rounded < 0.9 * value else rounded


def swish(x: Tensor) -> Tensor:
    return x * torch.sigmoid(x)


def h_sigmoid(x: Tensor) -> Tensor:
    return (x + 3).clamp(0, 6) / 6


def h_swish(x: Tensor) -> Tensor:
    return x * h_sigmoid(x)


def relu6(x: Tensor) -> Tensor:
    return x.clamp(0, 6)


def proxyless_logits(
    state: State, images: Tensor, d: Sequence[int], k: Sequence[int], e: Sequence[int], training: bool = False
) -> Tensor:
    """OFA's Proxyless.

    Args:
        d: depth of each of 6 stages, the last one 1.
        k, e: kernel size and expand ratio of each of 21 blocks, active or not.
        training: batch statistics instead of the running ones.
    """
    net = _Net(state, training, epsilon=1e-3)
    x = relu6(net.conv_bn(images, "first_conv.conv", "first_conv.bn", stride=2))
    x = relu6(net.depthwise_bn(x, "blocks.0.conv.depth_conv.conv", "blocks.0.conv.depth_conv.bn"))
    x = net.conv_bn(x, "blocks.0.conv.point_linear.conv", "blocks.0.conv.point_linear.bn")
    for stage, (depth, stride) in enumerate(zip(d, (2, 2, 2, 1, 2, 1), strict=True)):
        for position in range(depth):
            place = 4 * stage + position
            x = _ofa_block(net, x, place, k[place], e[place], stride if position == 0 else 1, relu6)
    x = relu6(net.conv_bn(x, "feature_mix_layer.conv", "feature_mix_layer.bn"))
    return net.linear(x.mean((2, 3)), "classifier.linear")


def mobilenet_v3_logits(
    state: State, images: Tensor, d: Sequence[int], k: Sequence[int], e: Sequence[int], training: bool = False
) -> Tensor:
    """OFA's MobileNetV3, and so CompOFA's and DepS's.

    Args:
        d: depth of each of 5 stages.
        k, e: kernel size and expand ratio of each of 20 blocks, active or not.
        training: batch statistics instead of the running ones.
    """
    net = _Net(state, training, epsilon=1e-5)
    x = h_swish(net.conv_bn(images, "first_conv.conv", "first_conv.bn", stride=2))
    y = net.depthwise_bn(x, "blocks.0.conv.depth_conv.conv", "blocks.0.conv.depth_conv.bn").relu()
    x = x + net.conv_bn(y, "blocks.0.conv.point_linear.conv", "blocks.0.conv.point_linear.bn")
    activations = (torch.relu, torch.relu, h_swish, h_swish, h_swish)
    for stage, (depth, stride, act) in enumerate(zip(d, (2, 2, 2, 1, 2), activations, strict=True)):
        for position in range(depth):
            place = 4 * stage + position
            x = _ofa_block(net, x, place, k[place], e[place], stride if position == 0 else 1, act)
    x = h_swish(net.conv_bn(x, "final_expand_layer.conv", "final_expand_layer.bn"))
    x = h_swish(net.conv(x.mean((2, 3), keepdim=True), "feature_mix_layer.conv"))
    return net.linear(x.flatten(1), "classifier.linear")


def resnet50_logits(
    state: State, images: Tensor, d: Sequence[int], e: Sequence[float], w: Sequence[int], training: bool = False
) -> Tensor:
    """OFA's ResNet50D.

    Args:
        d: depth of the stem, 0 or 2, then of each of 4 stages beyond its base depth.
        e: expand ratio of each of 18 blocks, active or not.
        w: indices of the width multipliers of the stem's middle and output, and of each of 4 stages.
        training: batch statistics instead of the running ones.
    """
    net = _Net(state, training, epsilon=1e-5)
    middle, out = r8(r8(64 * RESNET50_WIDTHS[w[0]]) // 2), r8(64 * RESNET50_WIDTHS[w[1]])
    x = net.conv_bn(images, "input_stem.0.conv.conv", "input_stem.0.bn.bn", middle, stride=2).relu()
    if d[0] == 2:
        x = x + net.conv_bn(x, "input_stem.1.conv.conv.conv", "input_stem.1.conv.bn.bn", middle).relu()
    x = net.conv_bn(x, "input_stem.2.conv.conv", "input_stem.2.bn.bn", out).relu()
    x = F.max_pool2d(x, 3, 2, padding=1)
    stages = zip(RESNET50_FIRST_BLOCKS, (2, 2, 4, 2), d[1:], (256, 512, 1024, 2048), w[2:], (1, 2, 2, 2), strict=True)
    for first, base, more, width, index, first_stride in stages:
        out = r8(width * RESNET50_WIDTHS[index])
        for block in range(first, first + base + more):
            name, stride, middle = f"blocks.{block}", first_stride if block == first else 1, r8(round(out * e[block]))
            y = net.conv_bn(x, f"{name}.conv1.conv.conv", f"{name}.conv1.bn.bn", middle).relu()
            y = net.conv_bn(y, f"{name}.conv2.conv.conv", f"{name}.conv2.bn.bn", middle, stride).relu()
            y = net.conv_bn(y, f"{name}.conv3.conv.conv", f"{name}.conv3.bn.bn", out)
            if block == first:
                x = _mean_of_existing_pixels(x) if stride == 2 else x
                x = net.conv_bn(x, f"{name}.downsample.conv.conv", f"{name}.downsample.bn.bn", out)
            x = (x + y).relu()
    return net.linear(x.mean((2, 3)), "classifier.linear.linear")


def attentive_nas_logits(
    state: State, images: Tensor, resolution: int, widths: Sequence[int], depths: Sequence[int],
    kernels: Sequence[int], expands: Sequence[int], training: bool = False,
) -> Tensor:  # fmt: skip
    """AttentiveNAS's and AlphaNet's network.

    Args:
        resolution: side of the images that the network computes with, pixels; it resizes those of another width.
        widths: of the stem, of 7 stages, and of the last convolution.
        depths, kernels, expands: of each of 7 stages.
        training: batch statistics instead of the running ones; no dropout, no drop-connect.
    """
    net = _Net(state, training, epsilon=1e-5, prefix="module.")
    stem, *of_stages, last = widths
    x = images.double()
    if x.shape[-1] != resolution:
        x = F.interpolate(x, (resolution, resolution), mode="bicubic", align_corners=False, antialias=False)
    x = swish(net.conv_bn(x, "first_conv.conv.conv", "first_conv.bn.bn", stem, stride=2))
    strides = (1, 2, 2, 2, 1, 2, 1)
    stages = zip(ATTENTIVE_NAS_FIRST_BLOCKS, of_stages, depths, kernels, expands, strides, strict=True)
    for first, out, depth, kernel, expand, first_stride in stages:
        for block in range(first, first + depth):
            stride, name = first_stride if block == first else 1, f"blocks.{block}.mobile_inverted_conv"
            y = net.mbconv(x, name, x.shape[1] * expand, out, kernel, stride, swish)
            x = y + _attentive_nas_shortcut(net, x, f"blocks.{block}.shortcut.conv.conv", out, stride)
    name = "last_conv.final_expand_layer"
    x = swish(net.conv_bn(x, f"{name}.conv.conv", f"{name}.bn.bn", 6 * x.shape[1]))
    x = swish(net.conv(x.mean((2, 3), keepdim=True), "last_conv.feature_mix_layer.conv.conv", last))
    return net.linear(x.flatten(1), "classifier.linear.linear")


def _ofa_block(net: _Net, x: Tensor, place: int, kernel: int, expand: int, stride: int, activation: Function) -> Tensor:
    """An elastic block of Proxyless or MobileNetV3; `place` counts from 0 without the fixed first block."""
    name = f"blocks.{place + 1}.conv"
    y = net.mbconv(x, name, r8(round(x.shape[1] * expand)), None, kernel, stride, activation)
    return x + y if stride == 1 and x.shape[1] == y.shape[1] else y


def _attentive_nas_shortcut(net: _Net, x: Tensor, name: str, out: int, stride: int) -> Tensor:
    """The input; at stride 2 its 2×2 means, at an odd width with a border of zeros that count; projected if needed."""
    if stride == 2:
        border = x.shape[-1] % 2
        x = F.pad(x, (border,) * 4)
        height, width = x.shape[-2] // 2 * 2, x.shape[-1] // 2 * 2
        x = _sums_of_four(x[..., :height, :width]) / 4
    return x if x.shape[1] == out else net.conv(x, name, out)


def _mean_of_existing_pixels(x: Tensor) -> Tensor:
    """2×2 means, stride 2; those of a last odd row or column are of the pixels that exist."""
    padding = (0, x.shape[-1] % 2, 0, x.shape[-2] % 2)
    exist = torch.ones_like(x[:1, :1])
    return _sums_of_four(F.pad(x, padding)) / _sums_of_four(F.pad(exist, padding))


def _sums_of_four(x: Tensor) -> Tensor:
    return x[..., ::2, ::2] + x[..., ::2, 1::2] + x[..., 1::2, ::2] + x[..., 1::2, 1::2]


@dataclass(frozen=True)
class _Net:
    """Layers by their names in the state, on the leading channels; inputs are as many as arrive."""

    state: State
    training: bool
    epsilon: float
    prefix: str = ""

    def tensor(self, name: str) -> Tensor:
        return self.state[self.prefix + name].double()

    def conv(self, x: Tensor, name: str, outputs: int | None = None, stride: int = 1) -> Tensor:
        """Without bias; to all outputs of the weight, or to the leading ones."""
        weight = self.tensor(f"{name}.weight")[:outputs, : x.shape[1]]
        return F.conv2d(x.double(), weight, stride=stride, padding=weight.shape[-1] // 2)

    def conv_bn(self, x: Tensor, conv: str, bn: str, outputs: int | None = None, stride: int = 1) -> Tensor:
        return self.batch_norm(self.conv(x, conv, outputs, stride), bn)

    def depthwise_bn(self, x: Tensor, conv: str, bn: str, kernel: int | None = None, stride: int = 1) -> Tensor:
        """With the stored kernel, or with a smaller one that its centre makes."""
        channels = x.shape[1]
        weight = self.tensor(f"{conv}.weight")[:channels]  # [C, 1, K, K]
        while kernel is not None and weight.shape[-1] > kernel:
            side = weight.shape[-1] - 2
            centre = weight[..., 1:-1, 1:-1].reshape(channels, side * side)
            matrix = f"{conv.removesuffix('.conv')}.{side + 2}to{side}_matrix"
            if self.prefix + matrix in self.state:
                centre = (self.tensor(matrix) * centre[:, None]).sum(2)  # v′ᵢ = Σⱼ Mᵢⱼ vⱼ
            weight = centre.reshape(channels, 1, side, side)
        y = F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2, groups=channels)
        return self.batch_norm(y, bn)

    def batch_norm(self, x: Tensor, name: str) -> Tensor:
        scale, shift, mean, variance = (
            self.tensor(f"{name}.{each}")[: x.shape[1]] for each in ("weight", "bias", "running_mean", "running_var")
        )
        if self.training:
            mean = x.mean((0, 2, 3))
            variance = (x - mean[:, None, None]).square().mean((0, 2, 3))
        scale = scale / (variance + self.epsilon).sqrt()
        return (x - mean[:, None, None]) * scale[:, None, None] + shift[:, None, None]

    def mbconv(
        self, x: Tensor, name: str, middle: int, outputs: int | None, kernel: int, stride: int, activation: Function
    ) -> Tensor:
        """Expansion and squeeze-and-excite where the state has them; no shortcut."""
        expansion, depthwise, projection = (
            f"{name}.{e}" for e in ("inverted_bottleneck", "depth_conv", "point_linear")
        )
        if f"{self.prefix}{expansion}.conv.conv.weight" in self.state:
            x = activation(self.conv_bn(x, f"{expansion}.conv.conv", f"{expansion}.bn.bn", middle))
        x = activation(self.depthwise_bn(x, f"{depthwise}.conv.conv", f"{depthwise}.bn.bn", kernel, stride))
        if f"{self.prefix}{depthwise}.se.fc.reduce.weight" in self.state:
            x = x * self.squeeze_excite(x, f"{depthwise}.se.fc")
        return self.conv_bn(x, f"{projection}.conv.conv", f"{projection}.bn.bn", outputs)

    def squeeze_excite(self, x: Tensor, name: str) -> Tensor:
        """The gate [N, C, 1, 1]."""
        channels = x.shape[1]
        reduced = r8(channels // 4)
        y = self.conv(x.mean((2, 3), keepdim=True), f"{name}.reduce", reduced)
        y = (y + self.tensor(f"{name}.reduce.bias")[:reduced, None, None]).relu()
        y = self.conv(y, f"{name}.expand", channels)
        return h_sigmoid(y + self.tensor(f"{name}.expand.bias")[:channels, None, None])

    def linear(self, x: Tensor, name: str) -> Tensor:
        return F.linear(x, self.tensor(f"{name}.weight")[:, : x.shape[1]], self.tensor(f"{name}.bias"))
