"""A subnet of the supernet computes what the same network computes by itself."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.supernet.extract import extract
from pipeline.supernet.networks import NETWORKS
from pipeline.supernet.space import Space
from pipeline.supernet.store import load_supernet, save_supernet
from pipeline.supernet.subnet import Subnet
from pipeline.supernet.supernet import Supernet


def lively(space: Space, seed: int = 0, dropout: float = 0.0) -> Supernet:
    """A supernet in which nothing is at its trivial initial value: transforms, batch norm, biases."""
    torch.manual_seed(seed)
    supernet = Supernet(space, dropout)
    with torch.no_grad():
        for name, tensor in supernet.state_dict().items():
            if "var" in name:
                tensor.uniform_(0.5, 2)
            elif "transforms" in name:
                tensor += 0.1 * torch.randn_like(tensor)
            elif tensor.ndim == 1:
                tensor += 0.3 * torch.randn_like(tensor)
    return supernet


def images(count: int = 4, side: int = 32) -> Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(1))


def subnets(space: Space) -> list[Subnet]:
    generator = torch.Generator().manual_seed(2)
    return [space.largest(), space.smallest(), *(space.sample(generator) for _ in range(4))]


@pytest.mark.parametrize("network", [name for name in NETWORKS if name.startswith("mobilenet") or "32px" not in name])
def test_an_extracted_subnet_gives_the_active_subnets_logits(network: str) -> None:
    space = replace(NETWORKS[network], resolutions=(32,))
    supernet = lively(space).eval()
    with torch.no_grad():
        for subnet in subnets(space):
            expected = supernet(images(), subnet)
            assert expected.std() > 1e-3  # else the comparison would mean nothing
            size = float(expected.std().clamp(min=1))  # sums of residuals grow
            torch.testing.assert_close(extract(supernet, subnet)(images()), expected, atol=1e-5 * size, rtol=1e-5)


def test_an_extracted_subnet_trains_like_the_active_one() -> None:
    """By batch statistics: the same logits, and the same gradient in the leading block of the shared weight."""
    space = NETWORKS["mobilenet_v3_digits"]
    supernet = lively(space)
    subnet = space.uniform(1, 3, 4)
    network = extract(supernet, subnet).train()
    labels = torch.tensor([1, 2, 3, 4])
    F.cross_entropy(network(images()), labels).backward()
    F.cross_entropy(supernet(images(), subnet), labels).backward()
    projection = supernet.blocks[1].project.weight.grad
    plain = network.get_parameter("blocks.1.project.weight").grad
    outputs, inputs = plain.shape[:2]
    torch.testing.assert_close(projection[:outputs, :inputs], plain, atol=1e-6, rtol=1e-4)
    assert projection.abs().sum() > 0
    assert not projection[:, inputs:].any()


def test_a_small_kernel_is_the_transformed_centre_of_the_large_one() -> None:
    space = NETWORKS["mobilenet_v3"]
    depthwise = lively(space).blocks[5].depthwise
    weight, transforms = depthwise.weight, depthwise.transforms
    for channel in (0, 17):
        five = (transforms["7to5"] @ weight[channel, 0, 1:6, 1:6].reshape(25)).reshape(5, 5)
        three = (transforms["5to3"] @ five[1:4, 1:4].reshape(9)).reshape(3, 3)
        torch.testing.assert_close(depthwise.active_weight(18, 5)[channel, 0], five)
        torch.testing.assert_close(depthwise.active_weight(18, 3)[channel, 0], three)
    torch.testing.assert_close(depthwise.active_weight(18, 7), weight[:18])


def test_transforms_are_the_identity_at_the_start() -> None:
    supernet = Supernet(NETWORKS["mobilenet_v3"])
    depthwise = supernet.blocks[3].depthwise
    torch.testing.assert_close(depthwise.active_weight(8, 3), depthwise.weight[:8, :, 2:5, 2:5])


def test_only_the_full_model_gets_dropout() -> None:
    space = NETWORKS["mobilenet_v3_digits"]
    with_dropout, without = lively(space, dropout=0.5), lively(space, dropout=0.0)
    for subnet in subnets(space):
        torch.manual_seed(9)
        same = torch.equal(with_dropout(images(), subnet), without(images(), subnet))
        assert same is not space.is_full(subnet)


def test_running_statistics_follow_the_full_model_only() -> None:
    space = NETWORKS["mobilenet_v3_digits"]
    supernet = lively(space)
    before = {name: buffer.clone() for name, buffer in supernet.named_buffers()}
    for subnet in subnets(space)[1:]:
        supernet(images(), subnet)
    assert all(torch.equal(buffer, before[name]) for name, buffer in supernet.named_buffers())
    supernet(images(), space.largest())
    assert not any(torch.equal(buffer, before[name]) for name, buffer in supernet.named_buffers())


def test_bf16_computes_close_to_fp32_and_keeps_weights_and_logits_fp32() -> None:
    space = NETWORKS["mobilenet_v3_digits"]
    exact, autocast = lively(space).eval(), lively(space).eval()
    autocast.bf16 = True
    with torch.no_grad():
        expected, logits = exact(images(), space.largest()), autocast(images(), space.largest())
    assert logits.dtype == torch.float32
    assert autocast.classifier.weight.dtype == torch.float32
    assert not torch.equal(logits, expected)
    # bfloat16 keeps 8 bits: some 0.4 % per operation, over a dozen layers.
    torch.testing.assert_close(logits, expected, atol=0.1 * float(expected.std()), rtol=0.1)


def test_a_supernet_loads_from_its_folder_without_a_recipe(tmp_path) -> None:
    space = NETWORKS["mobilenet_v3_digits"]
    supernet = lively(space).eval()
    save_supernet(tmp_path, space, supernet.state_dict())
    loaded = load_supernet(tmp_path)
    assert loaded.space == space
    with torch.no_grad():
        assert torch.equal(loaded(images(), space.smallest()), supernet(images(), space.smallest()))
