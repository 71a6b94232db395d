"""State dicts as they are published, of random values: names and shapes written out from the tables, not from our code.

Each is a list of (name, shape); `filled` makes tensors of them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

Shape = tuple[int, ...]
Keys = list[tuple[str, Shape]]


def r8(value: float) -> int:
    rounded = max(8, 8 * int((value + 4) // 8))
    return rounded + 8 if rounded < 0.9 * value else rounded


def bn(prefix: str, channels: int) -> Iterator[tuple[str, Shape]]:
    for part in ("weight", "bias", "running_mean", "running_var"):
        yield f"{prefix}.{part}", (channels,)
    yield f"{prefix}.num_batches_tracked", ()


def mobile_blocks(
    stages: Iterable[tuple[int, int, bool]], inputs: int, expand: int, kernel: int, matrices: bool, body: str = "conv"
) -> Iterator[tuple[str, Shape]]:
    """Elastic blocks, from number 1 on; a stage is its width, its blocks, and whether it has squeeze-and-excite."""
    number = 0
    for width, count, gated in stages:
        for _ in range(count):
            number += 1
            at, middle = f"blocks.{number}.{body}", r8(round(inputs * expand))
            yield f"{at}.inverted_bottleneck.conv.conv.weight", (middle, inputs, 1, 1)
            yield from bn(f"{at}.inverted_bottleneck.bn.bn", middle)
            if matrices:
                for larger in range(kernel, 3, -2):
                    smaller = larger - 2
                    yield f"{at}.depth_conv.conv.{larger}to{smaller}_matrix", (smaller**2, smaller**2)
            yield f"{at}.depth_conv.conv.conv.weight", (middle, 1, kernel, kernel)
            yield from bn(f"{at}.depth_conv.bn.bn", middle)
            if gated:
                reduced = r8(middle // 4)
                yield f"{at}.depth_conv.se.fc.reduce.weight", (reduced, middle, 1, 1)
                yield f"{at}.depth_conv.se.fc.reduce.bias", (reduced,)
                yield f"{at}.depth_conv.se.fc.expand.weight", (middle, reduced, 1, 1)
                yield f"{at}.depth_conv.se.fc.expand.bias", (middle,)
            yield f"{at}.point_linear.conv.conv.weight", (width, middle, 1, 1)
            yield from bn(f"{at}.point_linear.bn.bn", width)
            inputs = width


def mobile_first(stem: int, first: int, body: str = "conv") -> Iterator[tuple[str, Shape]]:
    yield "first_conv.conv.weight", (stem, 3, 3, 3)
    yield from bn("first_conv.bn", stem)
    yield f"blocks.0.{body}.depth_conv.conv.weight", (stem, 1, 3, 3)
    yield from bn(f"blocks.0.{body}.depth_conv.bn", stem)
    yield f"blocks.0.{body}.point_linear.conv.weight", (first, stem, 1, 1)
    yield from bn(f"blocks.0.{body}.point_linear.bn", first)


def mobilenet_v3(
    width: float = 1.0, classes: int = 1000, depth: int = 4, matrices: bool = True, body: str = "conv", kernel: int = 7
) -> Keys:
    stem, first, *stages, final, mixed = (r8(each * width) for each in (16, 16, 24, 40, 80, 112, 160, 960, 1280))
    gated = (False, True, False, True, True)
    return [
        *mobile_first(stem, first, body),
        *mobile_blocks([(w, depth, g) for w, g in zip(stages, gated, strict=True)], first, 6, kernel, matrices, body),
        ("final_expand_layer.conv.weight", (final, stages[-1], 1, 1)),
        *bn("final_expand_layer.bn", final),
        ("feature_mix_layer.conv.weight", (mixed, final, 1, 1)),
        ("classifier.linear.weight", (classes, mixed)),
        ("classifier.linear.bias", (classes,)),
    ]


def proxyless(width: float = 1.3, classes: int = 1000, matrices: bool = True) -> Keys:
    stem, first, *stages, last, mixed = (r8(each * width) for each in (32, 16, 24, 40, 80, 96, 192, 320, 1280))
    return [
        *mobile_first(stem, first),
        *mobile_blocks([*((w, 4, False) for w in stages), (last, 1, False)], first, 6, 7, matrices),
        ("feature_mix_layer.conv.weight", (mixed, last, 1, 1)),
        *bn("feature_mix_layer.bn", mixed),
        ("classifier.linear.weight", (classes, mixed)),
        ("classifier.linear.bias", (classes,)),
    ]


def resnet50(classes: int = 1000) -> Keys:
    keys: Keys = [("input_stem.0.conv.conv.weight", (32, 3, 3, 3)), *bn("input_stem.0.bn.bn", 32)]
    keys += [("input_stem.1.conv.conv.conv.weight", (32, 32, 3, 3)), *bn("input_stem.1.conv.bn.bn", 32)]
    keys += [("input_stem.2.conv.conv.weight", (64, 32, 3, 3)), *bn("input_stem.2.bn.bn", 64)]
    inputs, number = 64, 0
    for outputs, count in ((256, 4), (512, 4), (1024, 6), (2048, 4)):
        middle = r8(round(outputs * 0.35))
        for position in range(count):
            at = f"blocks.{number}"
            keys += [(f"{at}.conv1.conv.conv.weight", (middle, inputs, 1, 1)), *bn(f"{at}.conv1.bn.bn", middle)]
            keys += [(f"{at}.conv2.conv.conv.weight", (middle, middle, 3, 3)), *bn(f"{at}.conv2.bn.bn", middle)]
            keys += [(f"{at}.conv3.conv.conv.weight", (outputs, middle, 1, 1)), *bn(f"{at}.conv3.bn.bn", outputs)]
            if position == 0:
                keys += [(f"{at}.downsample.conv.conv.weight", (outputs, inputs, 1, 1))]
                keys += [*bn(f"{at}.downsample.bn.bn", outputs)]
            inputs, number = outputs, number + 1
    return [
        *keys,
        ("classifier.linear.linear.weight", (classes, 2048)),
        ("classifier.linear.linear.bias", (classes,)),
    ]


# Width, depth, expand ratio and squeeze-and-excite of each stage's largest.
ATTENTIVE_STAGES = (
    (24, 2, 1, False),
    (32, 5, 6, False),
    (40, 6, 6, True),
    (72, 6, 6, False),
    (128, 8, 6, True),
    (216, 8, 6, True),
    (224, 2, 6, True),
)


def attentive_nas(classes: int = 1000) -> Keys:
    def tracked(prefix: str, channels: int) -> Iterator[tuple[str, Shape]]:
        yield from bn(f"{prefix}.bn", channels)
        for number in range(2):
            yield f"{prefix}.bn_tracking.{number}.running_mean", (channels,)
            yield f"{prefix}.bn_tracking.{number}.running_var", (channels,)
            yield f"{prefix}.bn_tracking.{number}.num_batches_tracked", ()

    keys: Keys = [("first_conv.conv.conv.weight", (24, 3, 3, 3)), *tracked("first_conv.bn", 24)]
    inputs, number = 24, 0
    for width, count, expand, gated in ATTENTIVE_STAGES:
        for _ in range(count):
            at, middle = f"blocks.{number}.mobile_inverted_conv", inputs * expand
            if expand > 1:
                keys += [(f"{at}.inverted_bottleneck.conv.conv.weight", (middle, inputs, 1, 1))]
                keys += tracked(f"{at}.inverted_bottleneck.bn", middle)
            keys += [(f"{at}.depth_conv.conv.conv.weight", (middle, 1, 5, 5)), *tracked(f"{at}.depth_conv.bn", middle)]
            if gated:
                reduced = r8(middle // 4)
                keys += [(f"{at}.depth_conv.se.fc.reduce.weight", (reduced, middle, 1, 1))]
                keys += [(f"{at}.depth_conv.se.fc.reduce.bias", (reduced,))]
                keys += [(f"{at}.depth_conv.se.fc.expand.weight", (middle, reduced, 1, 1))]
                keys += [(f"{at}.depth_conv.se.fc.expand.bias", (middle,))]
            keys += [(f"{at}.point_linear.conv.conv.weight", (width, middle, 1, 1))]
            keys += tracked(f"{at}.point_linear.bn", width)
            keys += [(f"blocks.{number}.shortcut.conv.conv.weight", (width, inputs, 1, 1))]
            inputs, number = width, number + 1
    keys += [("last_conv.final_expand_layer.conv.conv.weight", (1344, 224, 1, 1))]
    keys += tracked("last_conv.final_expand_layer.bn", 1344)
    keys += [("last_conv.feature_mix_layer.conv.conv.weight", (1984, 1344, 1, 1))]
    keys += [("classifier.linear.linear.weight", (classes, 1984)), ("classifier.linear.linear.bias", (classes,))]
    return [(f"module.{name}", shape) for name, shape in keys]


def filled(keys: Keys, seed: int = 0) -> OrderedDict[str, Tensor]:
    """Values with which activations keep their size; every counter has another one."""
    generator = torch.Generator().manual_seed(seed)
    state: OrderedDict[str, Tensor] = OrderedDict()
    for name, shape in keys:
        assert name not in state
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(1000 + len(state))
            continue
        values = torch.randn(shape, generator=generator)
        if name.endswith("_matrix"):
            values = torch.eye(shape[0]) + values / shape[0]
        elif len(shape) > 1:
            values *= (2 / torch.tensor(shape[1:]).prod()) ** 0.5
        elif name.endswith("running_var"):
            values = 1 + values.abs()
        elif ".bn" in name and name.endswith(".weight"):
            values = 1 + 0.2 * values
        else:
            values *= 0.1
        state[name] = values
    return state


def weights(keys: Keys) -> int:
    """Parameters, kernel matrices among them."""
    parts = ("running_mean", "running_var", "num_batches_tracked")
    return sum(int(torch.tensor(shape).prod()) for name, shape in keys if name.rpartition(".")[2] not in parts)
