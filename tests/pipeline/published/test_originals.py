"""The originals' stated functions do as many multiply-accumulates as the originals: as published, exactly."""

import re

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tests.pipeline.published.made_up import Family, published_shapes
from tests.pipeline.published.originals import (
    RESNET50_EXPANDS,
    RESNET50_FIRST_BLOCKS,
    attentive_nas_logits,
    mobilenet_v3_logits,
    proxyless_logits,
    resnet50_logits,
)
from tests.pipeline.supernet.networks.test_sizes import ATTENTIVE_NAS, PROXYLESS, RESNET50

MOBILENET_V3 = [(4, 7, 6, 566_170_656), (4, 3, 6, 433_141_536), (3, 5, 4, 250_746_944), (2, 3, 3, 121_278_672)]


def macs(family: Family, logits, side: int, **choice) -> int:
    state = {name: torch.empty(shape, device="meta") for name, shape in published_shapes(family).items()}
    with FlopCounterMode(display=False) as counter:
        assert logits(state, torch.empty(1, 3, side, side, device="meta"), **choice).shape == (1, 1000)
    return counter.get_total_flops() // 2


def spread(groups: str, places: list[int]) -> list[int]:
    """One digit per active block, at the places of all blocks."""
    values = [0] * places[-1]
    for first, group in zip(places, groups.split("."), strict=False):
        values[first : first + len(group)] = map(int, group)
    return values


@pytest.mark.parametrize(("d", "k", "e", "expected"), MOBILENET_V3)
def test_mobilenet_v3(d: int, k: int, e: int, expected: int) -> None:
    assert macs("mobilenet_v3", mobilenet_v3_logits, 224, d=[d] * 5, k=[k] * 20, e=[e] * 20) == expected


@pytest.mark.parametrize(("text", "expected"), [row[:2] for row in PROXYLESS])
def test_proxyless(text: str, expected: int) -> None:
    d, k, e, side = re.fullmatch("d(.*)-k(.*)-e(.*)-r(.*)", text).groups()
    places = [0, 4, 8, 12, 16, 20, 21]
    choice = {"d": list(map(int, d.split("."))), "k": spread(k, places), "e": spread(e, places)}
    assert macs("proxyless", proxyless_logits, int(side), **choice) == expected


@pytest.mark.parametrize(("text", "expected"), [row[:2] for row in RESNET50])
def test_resnet50(text: str, expected: int) -> None:
    d, e, w, side = re.fullmatch("d(.*)-e(.*)-w(.*)-r(.*)", text).groups()
    ratios = [RESNET50_EXPANDS[index] for index in spread(e, [*RESNET50_FIRST_BLOCKS, 18])]
    choice = {"d": list(map(int, d.split("."))), "e": ratios, "w": list(map(int, w))}
    assert macs("resnet50", resnet50_logits, int(side), **choice) == expected


@pytest.mark.parametrize(("text", "expected"), [row[:2] for row in ATTENTIVE_NAS])
def test_attentive_nas(text: str, expected: int) -> None:
    side, widths, k, e, d = re.fullmatch("r(.*)-w(.*)-k(.*)-e(.*)-d(.*)", text).groups()
    choice = {"resolution": int(side), "widths": list(map(int, widths.split(".")))}
    digits = {name: list(map(int, text)) for name, text in {"depths": d, "kernels": k, "expands": e}.items()}
    assert macs("attentive_nas", attentive_nas_logits, 224, **choice, **digits) == expected
