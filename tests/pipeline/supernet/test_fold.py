"""A network without batch norm computes what it computed with it."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

from pipeline.supernet.extract import extract
from pipeline.supernet.fold import fold_batch_norm
from pipeline.supernet.networks import NETWORKS
from tests.pipeline.supernet.spaces import OPEN
from tests.pipeline.supernet.test_supernet import images, lively, subnets

SPACES = {
    "open": OPEN,
    **{name: NETWORKS[f"{name}_digits"] for name in ("mobilenet_v3", "proxyless", "resnet50", "attentive_nas")},
}


def computed(network: nn.Module, pixels: Tensor) -> tuple[Tensor, list[type[nn.Module]]]:
    """Logits, and the kinds of the modules that were called for them."""
    kinds: list[type[nn.Module]] = []
    with register_module_forward_pre_hook(lambda module, _: kinds.append(type(module))):
        return network(pixels), kinds


@pytest.mark.parametrize("name", SPACES)
@torch.no_grad()
def test_a_folded_network_gives_the_same_logits(name: str) -> None:
    space = SPACES[name]
    supernet = lively(space).double()
    for subnet in subnets(space):
        network = extract(supernet, subnet)
        state = {key: value.clone() for key, value in network.state_dict().items()}
        folded = fold_batch_norm(network)
        pixels = images(side=space.image_side(subnet)).double()
        expected, kinds = computed(network, pixels)
        assert expected.std() > 1e-3
        assert nn.BatchNorm2d in kinds
        logits, kinds = computed(folded, pixels)
        torch.testing.assert_close(logits, expected, atol=1e-12, rtol=1e-12)
        assert nn.BatchNorm2d not in kinds
        assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
        assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())


def test_a_convolution_of_a_folded_network_has_its_name_layout_and_a_bias() -> None:
    space = NETWORKS["resnet50_digits"]
    network = extract(lively(space), space.largest())
    folded = fold_batch_norm(network)
    convolutions = {name: each for name, each in network.named_modules() if isinstance(each, nn.Conv2d)}
    assert convolutions
    for name, before in convolutions.items():
        after = folded.get_submodule(name)
        assert isinstance(after, nn.Conv2d)
        assert after.bias is not None
        assert after.bias.shape == (before.out_channels,)
        assert after.weight.shape == before.weight.shape
        assert after.weight.is_contiguous(memory_format=torch.channels_last)
