"""Our supernets with a published state give the originals' logits, and so do their extracted networks."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from kernels.dispatch import KernelChoice, KernelError, operations_for
from pipeline.supernet.extract import extract
from pipeline.supernet.networks import NETWORKS, build_space, named
from pipeline.supernet.space import Space
from pipeline.supernet.subnet import Subnet
from pipeline.supernet.supernet import Supernet
from tests.pipeline.published import originals
from tests.pipeline.published.as_ours import our_state, our_subnet
from tests.pipeline.published.made_up import Family, made_up_state

LOGITS: dict[Family, Callable[..., Tensor]] = {
    "mobilenet_v3": originals.mobilenet_v3_logits,
    "proxyless": originals.proxyless_logits,
    "resnet50": originals.resnet50_logits,
    "attentive_nas": originals.attentive_nas_logits,
}
Pick = Callable[[Sequence[Any]], Any]


def chosen(family: Family, pick: Pick) -> dict[str, list[Any]]:
    """A choice in the published notation, of which `pick` chooses each value."""

    def several(count: int, *values: float) -> list[Any]:
        return [pick(values) for _ in range(count)]

    if family == "mobilenet_v3":
        return {"d": several(5, 2, 3, 4), "k": several(20, 3, 5, 7), "e": several(20, 3, 4, 6)}
    if family == "proxyless":
        return {"d": [*several(5, 2, 3, 4), 1], "k": several(21, 3, 5, 7), "e": several(21, 3, 4, 6)}
    if family == "resnet50":
        depths, expands = [*several(1, 0, 2), *several(4, 0, 1, 2)], several(18, *originals.RESNET50_EXPANDS)
        return {"d": depths, "e": expands, "w": several(6, 0, 1, 2)}
    widths = [(16, 24), (16, 24), (24, 32), (32, 40), (64, 72), (112, 120, 128), (192, 200, 208, 216), (216, 224)]
    depths = [range(1, 3), range(3, 6), range(3, 7), range(3, 7), range(3, 9), range(3, 9), range(1, 3)]
    return {
        "widths": [*map(pick, widths), pick((1792, 1984))],
        "depths": list(map(pick, depths)),
        "kernels": several(7, 3, 5),
        "expands": [1, *several(4, 4, 5, 6), 6, 6],
    }


def choices(family: Family, others: int) -> list[dict[str, list[Any]]]:
    """The largest, the smallest, and some by lot."""
    lot = random.Random(1)
    return [chosen(family, max), chosen(family, min), *(chosen(family, lot.choice) for _ in range(others))]


def pixels(side: int, count: int = 3) -> Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def loaded(space: Space, published: dict[str, Tensor], kernels: KernelChoice = "auto") -> Supernet:
    supernet = Supernet(space, kernels=kernels)
    if kernels == "auto":
        supernet.double()
    supernet.load_state_dict(our_state(published))
    return supernet


def expect(found: Tensor, expected: Tensor, relative: float) -> None:
    """Equal, relative to the greatest logit."""
    size = expected.abs().max()
    assert expected.std(0).mean() > 1e-5 * size  # the images make a difference, else the comparison means nothing
    assert (found - expected).abs().max() <= relative * size


def original(family: Family, state: dict[str, Tensor], images: Tensor, subnet: Subnet, **choice: Any) -> Tensor:
    own = {"resolution": subnet.resolution} if family == "attentive_nas" else {}
    return LOGITS[family](state, images, **own, **choice)


@pytest.mark.parametrize("training", [False, True], ids=["running statistics", "batch statistics"])
@pytest.mark.parametrize(
    ("family", "images", "resolution"),
    [
        ("mobilenet_v3", 70, 70),
        ("proxyless", 70, 70),  # 35, 18, 9, 5, 3
        ("resnet50", 76, 76),  # 38, 19, 10, 5, 3
        ("attentive_nas", 72, 72),  # 36, 18, 9, 5, 3
        ("attentive_nas", 60, 68),  # 34, 17, 9, 5, 3
    ],
)
@torch.no_grad()
def test_logits_of_any_subnet(family: Family, images: int, resolution: int, training: bool) -> None:
    published = made_up_state(family, classes=20)
    supernet = loaded(build_space(named(family), classes=20), published)
    for choice in choices(family, others=2):
        subnet = our_subnet(family, resolution, choice)
        expected = original(family, published, pixels(images), subnet, **choice, training=training)
        plain = extract(supernet, subnet).train(training)
        expect(plain(pixels(images)), expected, 1e-12)
        expect(supernet.train(training)(pixels(images), subnet), expected, 1e-12)
        if training:  # the full model moves the running statistics
            supernet.load_state_dict(our_state(published))


@pytest.mark.parametrize(
    ("family", "width"),
    [
        ("mobilenet_v3", 1.2),
        ("proxyless", 1.0),
        ("proxyless", 0.25),  # as wide inside as outside in two places: in the first block, which has no shortcut
    ],
)
@torch.no_grad()
def test_other_width_multipliers(family: Family, width: float) -> None:
    published = made_up_state(family, classes=20, width=width)
    supernet = loaded(build_space(named(family, width=width), classes=20), published).eval()
    for choice in choices(family, others=1):
        subnet = our_subnet(family, 64, choice)
        expected = LOGITS[family](published, pixels(64), **choice)
        expect(supernet(pixels(64), subnet), expected, 1e-12)
        expect(extract(supernet, subnet)(pixels(64)), expected, 1e-12)


@pytest.mark.parametrize(
    ("family", "images", "resolution"), [("proxyless", 128, 128), ("resnet50", 140, 140), ("attentive_nas", 224, 192)]
)
@torch.no_grad()
def test_the_smallest_at_a_published_size(family: Family, images: int, resolution: int) -> None:
    """ResNet's sides are 70, 35, 18, 9 and 5."""
    published = made_up_state(family)
    space = NETWORKS[family]
    choice = chosen(family, min)
    subnet = our_subnet(family, resolution, choice)
    assert replace(subnet, resolution=space.resolutions[0]) == space.smallest()
    expected = original(family, published, pixels(images, 2), subnet, **choice)
    expect(loaded(space, published).eval()(pixels(images, 2), subnet), expected, 1e-12)


@pytest.mark.parametrize("kernels", ["reference", "cpu"])
@pytest.mark.parametrize("family", LOGITS)
@torch.no_grad()
def test_in_single_precision(family: Family, kernels: KernelChoice) -> None:
    try:
        operations_for(kernels, "cpu", torch.float32)
    except KernelError as error:
        pytest.skip(str(error))
    published = made_up_state(family, classes=20)
    supernet = loaded(build_space(named(family), classes=20), published, kernels)
    for choice in choices(family, others=1)[1:]:
        subnet = our_subnet(family, 70, choice)
        for training in (False, True):
            expected = original(family, published, pixels(70), subnet, **choice, training=training)
            expect(supernet.train(training)(pixels(70).float(), subnet).double(), expected, 2e-5)
