"""State dicts in the layouts of the published files, with values by lot."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Literal

import torch
from torch import Tensor

from tests.pipeline.published.originals import ATTENTIVE_NAS_FIRST_BLOCKS, RESNET50_FIRST_BLOCKS, r8

Family = Literal["mobilenet_v3", "proxyless", "resnet50", "attentive_nas"]
Shape = tuple[int, ...]

# Variance of a layer's outputs over its inputs' mean square: with these the images still make a difference in the
# logits of the smallest subnet, whose layers have fewer inputs than the statistics expect, and the largest is finite.
_GAINS = {"mobilenet_v3": 1.8, "proxyless": 2.2, "resnet50": 1.4, "attentive_nas": 1.25}


def made_up_state(family: Family, seed: int = 0, classes: int = 1000, width: float | None = None) -> dict[str, Tensor]:
    """A supernet's state: float32, and int64 for `num_batches_tracked`.

    Args:
        width: multiplier of MobileNetV3 or Proxyless, by default the published 1.0 and 1.3.
    """
    generator = torch.Generator().manual_seed(seed)
    shapes = published_shapes(family, classes, width)
    return {name: _value(name, shape, _GAINS[family], generator) for name, shape in shapes.items()}


def published_shapes(family: Family, classes: int = 1000, width: float | None = None) -> dict[str, Shape]:
    """The shape of each tensor, by its published name."""
    if family == "mobilenet_v3":
        return dict(_mobilenet_v3(classes, width or 1.0))
    if family == "proxyless":
        return dict(_proxyless(classes, width or 1.3))
    layouts: dict[str, Callable[[int], Iterator[tuple[str, Shape]]]] = {
        "resnet50": _resnet50,
        "attentive_nas": _attentive_nas,
    }
    return dict(layouts[family](classes))


def _value(name: str, shape: Shape, gain: float, generator: torch.Generator) -> Tensor:
    if name.endswith("num_batches_tracked"):
        return torch.tensor(1000)
    noise = torch.randn(shape, generator=generator)
    if name.endswith("_matrix"):
        return torch.eye(*shape) + 0.02 * noise
    if name.endswith(("running_var", ".bn.weight")):
        return 0.5 + torch.rand(shape, generator=generator)
    if len(shape) == 1:
        return 0.1 * noise
    return noise * math.sqrt(gain / math.prod(shape[1:]))


def _bn(name: str, channels: int) -> Iterator[tuple[str, Shape]]:
    for each in ("weight", "bias", "running_mean", "running_var"):
        yield f"{name}.{each}", (channels,)
    yield f"{name}.num_batches_tracked", ()


def _fixed_block(inputs: int, outputs: int) -> Iterator[tuple[str, Shape]]:
    name = "blocks.0.conv"
    yield f"{name}.depth_conv.conv.weight", (inputs, 1, 3, 3)
    yield from _bn(f"{name}.depth_conv.bn", inputs)
    yield f"{name}.point_linear.conv.weight", (outputs, inputs, 1, 1)
    yield from _bn(f"{name}.point_linear.bn", outputs)


def _mbconv(
    name: str, inputs: int, middle: int, outputs: int, kernel: int, expands: bool, transforms: bool, excites: bool
) -> Iterator[tuple[str, Shape]]:
    if expands:
        yield f"{name}.inverted_bottleneck.conv.conv.weight", (middle, inputs, 1, 1)
        yield from _bn(f"{name}.inverted_bottleneck.bn.bn", middle)
    yield f"{name}.depth_conv.conv.conv.weight", (middle, 1, kernel, kernel)
    if transforms:
        yield f"{name}.depth_conv.conv.7to5_matrix", (25, 25)
        yield f"{name}.depth_conv.conv.5to3_matrix", (9, 9)
    yield from _bn(f"{name}.depth_conv.bn.bn", middle)
    if excites:
        reduced = r8(middle // 4)
        yield f"{name}.depth_conv.se.fc.reduce.weight", (reduced, middle, 1, 1)
        yield f"{name}.depth_conv.se.fc.reduce.bias", (reduced,)
        yield f"{name}.depth_conv.se.fc.expand.weight", (middle, reduced, 1, 1)
        yield f"{name}.depth_conv.se.fc.expand.bias", (middle,)
    yield f"{name}.point_linear.conv.conv.weight", (outputs, middle, 1, 1)
    yield from _bn(f"{name}.point_linear.bn.bn", outputs)


def _ofa_stages(first: int, widths: list[int], excites: tuple[bool, ...], last: int) -> Iterator[tuple[str, Shape]]:
    """Stages of 4 blocks behind the fixed one, the last stage of `last` blocks."""
    inputs = first
    for stage, outputs in enumerate(widths):
        for position in range(last if stage == len(widths) - 1 else 4):
            name, middle = f"blocks.{1 + 4 * stage + position}.conv", r8(round(inputs * 6))
            yield from _mbconv(name, inputs, middle, outputs, 7, True, True, excites[stage])
            inputs = outputs


def _mobilenet_v3(classes: int, width: float) -> Iterator[tuple[str, Shape]]:
    stem, first, *stages, expanded, last = (r8(width * c) for c in (16, 16, 24, 40, 80, 112, 160, 960, 1280))
    yield "first_conv.conv.weight", (stem, 3, 3, 3)
    yield from _bn("first_conv.bn", stem)
    yield from _fixed_block(stem, first)
    yield from _ofa_stages(first, stages, (False, True, False, True, True), last=4)
    yield "final_expand_layer.conv.weight", (expanded, stages[-1], 1, 1)
    yield from _bn("final_expand_layer.bn", expanded)
    yield "feature_mix_layer.conv.weight", (last, expanded, 1, 1)
    yield "classifier.linear.weight", (classes, last)
    yield "classifier.linear.bias", (classes,)


def _proxyless(classes: int, width: float) -> Iterator[tuple[str, Shape]]:
    stem, first, *stages, last = (r8(width * c) for c in (32, 16, 24, 40, 80, 96, 192, 320, 1280))
    yield "first_conv.conv.weight", (stem, 3, 3, 3)
    yield from _bn("first_conv.bn", stem)
    yield from _fixed_block(stem, first)
    yield from _ofa_stages(first, stages, (False,) * 6, last=1)
    yield "feature_mix_layer.conv.weight", (last, stages[-1], 1, 1)
    yield from _bn("feature_mix_layer.bn", last)
    yield "classifier.linear.weight", (classes, last)
    yield "classifier.linear.bias", (classes,)


def _resnet50(classes: int) -> Iterator[tuple[str, Shape]]:
    stem = (
        ("input_stem.0.conv", "input_stem.0.bn", 32, 3),
        ("input_stem.1.conv.conv", "input_stem.1.conv.bn", 32, 32),
        ("input_stem.2.conv", "input_stem.2.bn", 64, 32),
    )
    for conv, bn, outputs, inputs in stem:
        yield f"{conv}.conv.weight", (outputs, inputs, 3, 3)
        yield from _bn(f"{bn}.bn", outputs)
    inputs = 64
    stages = zip(RESNET50_FIRST_BLOCKS, (4, 4, 6, 4), (256, 512, 1024, 2048), (88, 176, 360, 720), strict=True)
    for first, depth, outputs, middle in stages:
        for block in range(first, first + depth):
            layers = {
                "conv1": (middle, inputs, 1, 1),
                "conv2": (middle, middle, 3, 3),
                "conv3": (outputs, middle, 1, 1),
                **({"downsample": (outputs, inputs, 1, 1)} if block == first else {}),
            }
            for layer, shape in layers.items():
                yield f"blocks.{block}.{layer}.conv.conv.weight", shape
                yield from _bn(f"blocks.{block}.{layer}.bn.bn", shape[0])
            inputs = outputs
    yield "classifier.linear.linear.weight", (classes, 2048)
    yield "classifier.linear.linear.bias", (classes,)


def _attentive_nas(classes: int) -> Iterator[tuple[str, Shape]]:
    """Beside each batch norm are two others, with statistics alone."""
    for name, shape in _attentive_nas_layers(classes):
        yield f"module.{name}", shape
        layer, _, tensor = name.rpartition(".bn.bn.")
        if tensor in ("running_mean", "running_var", "num_batches_tracked"):
            for each in (0, 1):
                yield f"module.{layer}.bn.bn_tracking.{each}.{tensor}", shape


def _attentive_nas_layers(classes: int) -> Iterator[tuple[str, Shape]]:
    yield "first_conv.conv.conv.weight", (24, 3, 3, 3)
    yield from _bn("first_conv.bn.bn", 24)
    inputs = 24
    stages = zip(
        ATTENTIVE_NAS_FIRST_BLOCKS, (2, 5, 6, 6, 8, 8, 2), (24, 32, 40, 72, 128, 216, 224), (1, 6, 6, 6, 6, 6, 6),
        (False, False, True, False, True, True, True), strict=True,
    )  # fmt: skip
    for first, depth, outputs, expand, excites in stages:
        for block in range(first, first + depth):
            name, middle = f"blocks.{block}.mobile_inverted_conv", inputs * expand
            yield from _mbconv(name, inputs, middle, outputs, 5, expand != 1, False, excites)
            yield f"blocks.{block}.shortcut.conv.conv.weight", (outputs, inputs, 1, 1)
            inputs = outputs
    yield "last_conv.final_expand_layer.conv.conv.weight", (1344, 224, 1, 1)
    yield from _bn("last_conv.final_expand_layer.bn.bn", 1344)
    yield "last_conv.feature_mix_layer.conv.conv.weight", (1984, 1344, 1, 1)
    yield "classifier.linear.linear.weight", (classes, 1984)
    yield "classifier.linear.linear.bias", (classes,)
