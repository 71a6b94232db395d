"""Imported networks compute what the published ones do: from the state dict by plain functions, elastic, extracted."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.published.importing import import_checkpoint
from pipeline.supernet.extract import extract
from pipeline.supernet.store import load_supernet
from tests.pipeline.published import functional, layouts
from tests.pipeline.published.functional import Stage, h_swish, swish

CLASSES = 7
SIDE, RESIZED = 72, 88  # odd inside: 72, 36, 18, 9, 5, 3


class Case(NamedTuple):
    """A subnet, and what it computes from the state dict for images."""

    subnet: str
    expected: Callable[[functional.State, Tensor], Tensor]


def mobile_stages(
    widths: list[int], gated: str, activations: str, strides: str, kernels: str, expands: str
) -> list[Stage]:
    functions = {"r": torch.relu, "6": F.relu6, "h": h_swish}
    digits = zip(kernels.split("."), expands.split("."), strict=True)
    choices = [list(zip(map(int, kernel), map(int, expand), strict=True)) for kernel, expand in digits]
    return [
        Stage(width, int(stride), gate == "1", functions[function], blocks)
        for width, gate, function, stride, blocks in zip(widths, gated, activations, strides, choices, strict=True)
    ]


def mobile(kernels: str, expands: str, stages: list[Stage], epsilon: float) -> Case:
    depths = ".".join(str(len(part)) for part in kernels.split("."))
    return Case(
        f"d{depths}-k{kernels}-e{expands}-r{SIDE}",
        lambda state, images: functional.mobile(state, images, stages, 4, epsilon),
    )


def mobilenet_v3(kernels: str, expands: str) -> Case:
    stages = mobile_stages([24, 40, 80, 112, 160], "01011", "rrhhh", "22212", kernels, expands)
    return mobile(kernels, expands, stages, 1e-5)


def proxyless(kernels: str, expands: str) -> Case:
    stages = mobile_stages([32, 56, 104, 128, 248, 416], "000000", "666666", "222121", kernels, expands)
    return mobile(kernels, expands, stages, 1e-3)


def resnet50(has_block: bool, stem: tuple[int, int], widths: list[int], expands: list[list[float]]) -> Case:
    ratios = ".".join("_".join(f"{ratio:g}".replace(".", "p") for ratio in stage) for stage in expands)
    depths = ".".join(str(len(stage)) for stage in expands)
    stages = list(zip(widths, expands, strict=True))
    return Case(
        f"d{depths}-k3-e{ratios}-s{stem[0]}.{int(has_block)}.{stem[1]}-w{'.'.join(map(str, widths))}-r{SIDE}",
        lambda state, images: functional.resnet(state, images, (stem[0], has_block, stem[1]), stages),
    )


def attentive_nas(stem: int, widths: list[int], kernels: str, expands: str, depths: str, last: int) -> Case:
    stages = [
        Stage(width, int(stride), gate == "1", swish, [(int(kernel), int(expand))] * int(depth))
        for width, stride, gate, kernel, expand, depth in zip(
            widths, "1222121", "0010111", kernels, expands, depths, strict=True
        )
    ]
    each = [".".join(value * int(d) for value, d in zip(values, depths, strict=True)) for values in (kernels, expands)]
    return Case(
        f"d{'.'.join(depths)}-k{each[0]}-e{each[1]}-s{stem}-w{'.'.join(map(str, widths))}-h{last}-r{RESIZED}",
        lambda state, images: functional.attentive(state, images, stem, stages, last, RESIZED),
    )


MIXED = mobilenet_v3("35.753.7537.33.557", "36.463.3646.63.433")
CASES = {
    "mobilenet_v3": (
        layouts.mobilenet_v3(classes=CLASSES),
        [mobilenet_v3("7777.7777.7777.7777.7777", "6666.6666.6666.6666.6666"), MIXED],
    ),
    "mobilenet_v3 without matrices": (layouts.mobilenet_v3(classes=CLASSES, matrices=False), [MIXED]),
    "proxyless": (
        layouts.proxyless(classes=CLASSES),
        [proxyless("553.3773.7775.577.777.3", "666.4466.6664.433.446.6")],
    ),
    "resnet50": (
        layouts.resnet50(CLASSES),
        [
            resnet50(False, (24, 48), [168, 512, 664, 1640], [[0.2] * 2, [0.35, 0.2, 0.25], [0.25] * 5, [0.2] * 2]),
            resnet50(True, (32, 40), [256, 336, 816, 2048], [[0.35] * 4, [0.2, 0.25], [0.35] * 6, [0.2, 0.35, 0.25]]),
        ],
    ),
    "attentive_nas": (
        layouts.attentive_nas(CLASSES),
        [
            attentive_nas(16, [24, 24, 32, 72, 120, 200, 224], "3535353", "1456466", "1344682", 1792),
            attentive_nas(24, [16, 32, 40, 64, 112, 216, 216], "5353535", "1645566", "2365351", 1984),
        ],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_imported_networks_compute_what_the_published_ones_do(name: str, tmp_path: Path) -> None:
    keys, cases = CASES[name]
    state = layouts.filled(keys)
    torch.save({"state_dict": state}, tmp_path / "published.pth")
    import_checkpoint(tmp_path / "published.pth", "auto", tmp_path / "imported")
    supernet = load_supernet(tmp_path / "imported")
    images = torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    doubles = {key: tensor.double() for key, tensor in state.items()}
    for case in cases:
        subnet = supernet.space.parse(case.subnet)
        with torch.no_grad():
            expected = case.expected(doubles, images)
            exact = supernet.double()
            assert far(exact(images, subnet), expected) < 1e-12
            assert far(extract(exact, subnet)(images), expected) < 1e-12
            single = supernet.float()
            assert far(extract(single, subnet)(images.float()), expected) < 1e-5
            assert far(single(images.float(), subnet), expected) < 1e-5


def far(found: Tensor, expected: Tensor) -> float:
    """The largest difference, in sizes of the logits."""
    assert expected.std() > 1e-3  # logits of noise that died out tell nothing
    return float((found - expected).abs().max() / expected.abs().max())
