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
SIDE = 72  # odd inside: 72, 36, 18, 9, 5, 3


class Case(NamedTuple):
    """A layout, a subnet of it, and what this computes from the state dict for images."""

    keys: layouts.Keys
    subnet: str
    expected: Callable[[functional.State, Tensor], Tensor]


def mobile_stages(
    widths: list[int], gated: str, activations: str, strides: str, kernels: str, expands: str
) -> list[Stage]:
    functions = {"r": torch.relu, "6": F.relu6, "h": h_swish}
    choices = [list(zip(map(int, k), map(int, e), strict=True)) for k, e in zip(kernels.split("."), expands.split("."))]
    return [
        Stage(width, int(stride), gate == "1", functions[function], blocks)
        for width, gate, function, stride, blocks in zip(widths, gated, activations, strides, choices, strict=True)
    ]


def mobilenet_v3(kernels: str, expands: str, matrices: bool = True) -> Case:
    stages = mobile_stages([24, 40, 80, 112, 160], "01011", "rrhhh", "22212", kernels, expands)
    depths = ".".join(str(len(part)) for part in kernels.split("."))
    return Case(
        layouts.mobilenet_v3(classes=CLASSES, matrices=matrices),
        f"d{depths}-k{kernels}-e{expands}-r{SIDE}",
        lambda state, images: functional.mobile(state, images, stages, 4, 1e-5),
    )


def proxyless(kernels: str, expands: str) -> Case:
    stages = mobile_stages([32, 56, 104, 128, 248, 416], "000000", "666666", "222121", kernels, expands)
    depths = ".".join(str(len(part)) for part in kernels.split("."))
    return Case(
        layouts.proxyless(classes=CLASSES),
        f"d{depths}-k{kernels}-e{expands}-r{SIDE}",
        lambda state, images: functional.mobile(state, images, stages, 4, 1e-3),
    )


def resnet50(has_block: bool, stem: tuple[int, int], widths: list[int], expands: list[list[float]]) -> Case:
    ratios = ".".join("_".join(f"{ratio:g}".replace(".", "p") for ratio in stage) for stage in expands)
    depths = ".".join(str(len(stage)) for stage in expands)
    text = f"d{depths}-k3-e{ratios}-s{stem[0]}.{int(has_block)}.{stem[1]}-w{'.'.join(map(str, widths))}-r{SIDE}"
    stages = list(zip(widths, expands, strict=True))
    return Case(
        layouts.resnet50(CLASSES),
        text,
        lambda state, images: functional.resnet(state, images, (stem[0], has_block, stem[1]), stages),
    )


def attentive_nas(stem: int, widths: list[int], kernels: str, expands: str, depths: str, last: int) -> Case:
    stages = [
        Stage(width, int(stride), gate == "1", swish, [(int(kernel), int(expand))] * int(depth))
        for width, stride, gate, kernel, expand, depth in zip(
            widths, "1222121", "0010111", kernels, expands, depths, strict=True
        )
    ]
    text = (
        f"d{'.'.join(depths)}-k{'.'.join(k * int(d) for k, d in zip(kernels, depths, strict=True))}"
        f"-e{'.'.join(e * int(d) for e, d in zip(expands, depths, strict=True))}"
        f"-s{stem}-w{'.'.join(map(str, widths))}-h{last}-r192"
    )
    return Case(
        layouts.attentive_nas(CLASSES),
        text,
        lambda state, images: functional.attentive(state, images, stem, stages, last, 192),
    )


CASES = {
    "mobilenet_v3 largest": mobilenet_v3("7777.7777.7777.7777.7777", "6666.6666.6666.6666.6666"),
    "mobilenet_v3": mobilenet_v3("35.753.7537.33.557", "36.463.3646.63.433"),
    "mobilenet_v3 without matrices": mobilenet_v3("35.753.7537.33.557", "36.463.3646.63.433", matrices=False),
    "proxyless": proxyless("553.3773.7775.577.777.3", "666.4466.6664.433.446.6"),
    "resnet50": resnet50(False, (24, 48), [168, 512, 664, 1640], [[0.2] * 2, [0.35, 0.2, 0.25], [0.25] * 5, [0.2] * 2]),
    "resnet50 with its stem's block": resnet50(
        True, (32, 40), [256, 336, 816, 2048], [[0.35] * 4, [0.2, 0.25], [0.35] * 6, [0.2, 0.35, 0.25]]
    ),
    "attentive_nas": attentive_nas(16, [24, 24, 32, 72, 120, 200, 224], "3535353", "1456466", "1344682", 1792),
    "attentive_nas narrow": attentive_nas(24, [16, 32, 40, 64, 112, 216, 216], "5353535", "1645566", "2365351", 1984),
}


@pytest.mark.parametrize("name", CASES)
def test_imported_networks_compute_what_the_published_ones_do(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    state = layouts.filled(case.keys)
    torch.save({"state_dict": state}, tmp_path / "published.pth")
    import_checkpoint(tmp_path / "published.pth", "auto", tmp_path / "imported")
    supernet = load_supernet(tmp_path / "imported")
    subnet = supernet.space.parse(case.subnet)
    side = 192 if "attentive" in name else SIDE
    images = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    doubles = {key: tensor.double() for key, tensor in state.items()}
    with torch.no_grad():
        expected = case.expected(doubles, images)
        exact = supernet.double()
        assert far(exact(images, subnet), expected.float().double()) < 1e-6  # logits are float32
        assert far(extract(exact, subnet)(images), expected) < 1e-12
        single = supernet.float()
        assert far(extract(single, subnet)(images.float()), expected) < 1e-5
        assert far(single(images.float(), subnet), expected) < 1e-5


def far(found: Tensor, expected: Tensor) -> float:
    """The largest difference, in sizes of the logits."""
    assert expected.std() > 1e-3  # logits of noise that died out tell nothing
    return float((found - expected).abs().max() / expected.abs().max())
