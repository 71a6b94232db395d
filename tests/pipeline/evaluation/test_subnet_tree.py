"""Subnets that are measured together: each as its extracted network, whatever it is measured with, and none twice."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from pipeline.evaluation.recalibrate import recalibrate
from pipeline.evaluation.subnet_tree import SubnetTree
from pipeline.supernet.extract import extract
from pipeline.supernet.networks import NETWORKS
from pipeline.supernet.shapes import parts
from pipeline.supernet.space import Space
from pipeline.supernet.subnet import Subnet
from pipeline.supernet.supernet import Supernet
from tests.pipeline.supernet.test_supernet import lively

DIGITS = [name for name in NETWORKS if name.endswith("_digits")]
SPACE = NETWORKS["mobilenet_v3_digits"]


def some_subnets(space: Space, count: int) -> list[Subnet]:
    generator = torch.Generator().manual_seed(0)
    return [space.smallest(), space.largest(), *(space.sample(generator) for _ in range(count - 2))]


def images(space: Space, count: int, size: int, dtype: torch.dtype) -> list[Tensor]:
    generator, side = torch.Generator().manual_seed(1), space.image_sides[-1]
    drawn = (torch.randn(size, 3, side, side, generator=generator, dtype=dtype) for _ in range(count))
    return [each.contiguous(memory_format=torch.channels_last) for each in drawn]


@torch.no_grad()
def together(supernet: Supernet, subnets: Sequence[Subnet], shown: list[Tensor], seen: Tensor) -> list[Tensor]:
    tree = SubnetTree(supernet, subnets)
    tree.recalibrate(shown)
    found = dict(tree.logits(seen))
    return [found[number] for number in range(len(subnets))]


@torch.no_grad()
def extracted(supernet: Supernet, subnet: Subnet, shown: list[Tensor], seen: Tensor) -> Tensor:
    network = extract(supernet, subnet)
    recalibrate(network, shown)
    return network(seen)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-3)])
@pytest.mark.parametrize("network", DIGITS)
def test_each_has_the_logits_of_its_extracted_and_recalibrated_network(
    network: str, dtype: torch.dtype, tolerance: float
) -> None:
    """In float32 by fused kernels, where they can be had."""
    space = NETWORKS[network]
    supernet = lively(space).to(dtype)
    before = {name: value.clone() for name, value in supernet.state_dict().items()}
    subnets = some_subnets(space, 5)
    *shown, seen = images(space, 3, 8, dtype)
    found = together(supernet, subnets, shown, seen)
    for subnet, logits in zip(subnets, found, strict=True):
        wanted = extracted(supernet, subnet, shown, seen)
        assert float((logits - wanted).abs().max() / wanted.std()) < tolerance, subnet
    assert all(torch.equal(value, before[name]) for name, value in supernet.state_dict().items())


def test_none_depends_on_those_that_it_is_measured_with() -> None:
    supernet, subnets = lively(SPACE), some_subnets(SPACE, 6)
    *shown, seen = images(SPACE, 3, 8, torch.float32)
    found = together(supernet, [*subnets, subnets[2]], shown, seen)
    for subnet, logits in zip(subnets, found, strict=False):
        assert torch.equal(logits, together(supernet, [subnet], shown, seen)[0])
    assert torch.equal(found[-1], found[2])


def test_what_subnets_begin_with_alike_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    supernet = lively(SPACE)
    one = SPACE.uniform(2, 5, 6)
    *alike, stage = one.stages
    *blocks, block = stage.blocks
    other = replace(one, stages=(*alike, stage._replace(blocks=(*blocks, block._replace(kernel=3)))))
    computed = []
    through = Supernet.through

    def noting(self, operations, chosen, x, full):
        computed.extend(chosen)
        return through(self, operations, chosen, x, full)

    monkeypatch.setattr(Supernet, "through", noting)
    shown = images(SPACE, 2, 8, torch.float32)
    tree = SubnetTree(supernet, [one, other])
    with torch.no_grad():
        list(tree.logits(shown[0]))
    stem, stages, head = parts(SPACE, one)
    path = (*stem, *stages, *head)
    assert len(computed) == len(path) + 1 + len(head)
    assert computed[: len(path)] == list(path)
    computed.clear()
    with torch.no_grad():
        tree.recalibrate(shown[:1])
    normalised = [layer for layer in head if layer.norm]
    assert len(computed) == len(stem) + len(stages) + 1 + 2 * len(normalised), "what no batch norm follows is left out"
