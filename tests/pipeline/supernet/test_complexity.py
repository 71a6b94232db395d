"""The sizes that the literature reports for OFA's MobileNetV3, exactly; and our count against torch's own layers."""

import pytest
import torch
from torch import Tensor, nn

from pipeline.supernet.complexity import complexity
from pipeline.supernet.extract import plain_network
from pipeline.supernet.networks import NETWORKS, build_space, named
from pipeline.supernet.space import Space
from pipeline.supernet.subnet import Subnet
from pipeline.supernet.supernet import Supernet

W10 = NETWORKS["mobilenet_v3"]
W12 = build_space(named("mobilenet_v3", width=1.2))


def compound(depth: int, expand: int) -> Subnet:
    """CompOFA's: one kernel size per stage."""
    kernels = ".".join(str(kernel) * depth for kernel in (3, 5, 3, 3, 5))
    return W10.parse(f"d{depth}-k{kernels}-e{expand}-r224")


PUBLISHED = [
    (W10, W10.uniform(4, 7, 6), 566_170_656, 7_664_760),
    (W10, W10.uniform(4, 3, 6), 433_141_536, 7_299_960),
    (W10, W10.uniform(3, 5, 4), 250_746_944, 4_551_792),
    (W10, W10.uniform(2, 3, 3), 121_278_672, 3_410_792),
    (W10, W10.uniform(2, 7, 3), 151_290_192, 3_493_352),
    (W10, W10.uniform(3, 7, 4), 289_357_376, 4_657_776),
    (W10, compound(2, 3), 124_326_864, 3_426_920),
    (W10, compound(3, 4), 231_579_712, 4_515_440),
    (W10, compound(4, 6), 446_764_320, 7_370_616),
    (W12, W12.largest(), 843_101_040, 10_701_632),
    (W12, W12.smallest(), 193_078_200, 4_602_456),
]


@pytest.mark.parametrize(("space", "subnet", "macs", "parameters"), PUBLISHED, ids=lambda value: str(value)[:24])
def test_published_sizes_are_reproduced_exactly(space: Space, subnet: Subnet, macs: int, parameters: int) -> None:
    assert complexity(space, subnet).macs == macs
    assert complexity(space, subnet).parameters == parameters


@pytest.mark.parametrize(("resolution", "macs"), [(128, 188_248_320), (160, 291_318_048), (192, 417_292_160)])
def test_published_macs_at_other_resolutions(resolution: int, macs: int) -> None:
    assert complexity(W10, W10.largest(), resolution).macs == macs


def test_the_supernet_holds_the_kernel_transforms_besides_the_full_model() -> None:
    parameters = sum(parameter.numel() for parameter in Supernet(W10).parameters())
    assert parameters == 7_678_880 == 7_664_760 + 20 * (81 + 625)


@pytest.mark.parametrize("network", NETWORKS)
def test_the_count_is_what_torchs_own_layers_do(network: str) -> None:
    space = NETWORKS[network]
    generator = torch.Generator().manual_seed(5)
    for subnet in (space.smallest(), space.sample(generator), space.sample(generator)):
        macs, parameters = counted(plain_network(space, subnet).eval(), subnet.resolution)
        assert (complexity(space, subnet).macs, complexity(space, subnet).parameters) == (macs, parameters)


def counted(network: nn.Module, resolution: int) -> tuple[int, int]:
    macs = 0

    def count(layer: nn.Module, _: tuple[Tensor], output: Tensor) -> None:
        nonlocal macs
        if isinstance(layer, nn.Conv2d):
            macs += output.numel() * layer.weight[0].numel()
        if isinstance(layer, nn.Linear):
            macs += layer.weight.numel()

    for layer in network.modules():
        layer.register_forward_hook(count)
    with torch.no_grad():
        network(torch.zeros(1, 3, resolution, resolution))
    return macs, sum(parameter.numel() for parameter in network.parameters())
