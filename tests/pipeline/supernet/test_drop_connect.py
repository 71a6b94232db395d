"""Drop-connect: samples of the full model lose what a block adds to its shortcut, and in the mean nothing changes."""

import pytest
import torch

from pipeline.supernet.networks import NETWORKS
from pipeline.supernet.supernet import Supernet
from tests.pipeline.supernet.test_supernet import images, lively

SPACE = NETWORKS["attentive_nas_digits"]
RESNET = NETWORKS["resnet50_digits"]


def dropping(space=SPACE, rate: float = 0.6, recompute: bool = False) -> Supernet:
    supernet = Supernet(space, kernels="reference", recompute=recompute, drop_connect=rate)
    supernet.load_state_dict(lively(space).state_dict())
    return supernet


def test_its_probability_rises_with_depth_in_the_last_two_stages() -> None:
    rates = [block.drop_connect for block in dropping().blocks]
    assert rates == pytest.approx([0, 0, *(0.6 * index / 6 for index in range(2, 6))])
    published = Supernet(NETWORKS["attentive_nas"], drop_connect=0.2)
    rates = [block.drop_connect for block in published.blocks]
    assert rates == pytest.approx([0.0] * 27 + [0.2 * index / 37 for index in range(27, 37)])


@pytest.mark.parametrize("space", [SPACE, RESNET], ids=["mbconv", "bottleneck"])
def test_a_block_keeps_a_samples_shortcut_alone_or_divides_by_what_remains(space) -> None:
    supernet = dropping(space).eval()
    blocks = [block for block in supernet.blocks if block.drop_connect]
    plain = Supernet(space, kernels="reference").eval()
    plain.load_state_dict(supernet.state_dict())
    pixels = images(64, space.image_side(space.largest()))
    seen: list[tuple] = []
    for block in supernet.blocks:
        block.register_forward_hook(lambda block, inputs, out: seen.append((block, inputs, out)))
    for block in blocks:
        block.training = True  # by running statistics, so that samples do not depend on each other
    supernet(pixels, space.largest())
    dropped = 0
    for block, (operations, x, shape, _), out in seen:
        keeps_size = (shape.stride, shape.inputs) == (1, shape.outputs)
        twin = plain.get_submodule(shape.name)
        whole = twin(operations, x, shape, False)
        if not (block.drop_connect and keeps_size):
            torch.testing.assert_close(out, whole)
            continue
        alone = x.clamp(min=0) if shape.kind == "bottleneck" else x
        lost = (out - alone).flatten(1).abs().amax(1) < 1e-6
        share = float(lost.float().mean())
        assert abs(share - block.drop_connect) < 4 * (block.drop_connect * (1 - block.drop_connect) / 64) ** 0.5
        if shape.kind != "bottleneck":
            kept = (out - x)[~lost]
            torch.testing.assert_close(kept, ((whole - x) / (1 - block.drop_connect))[~lost], atol=1e-4, rtol=1e-4)
        dropped += int(lost.sum())
    assert dropped


def test_other_subnets_evaluation_and_passes_without_gradients_drop_nothing() -> None:
    supernet, plain = dropping(), dropping(rate=0)
    pixels = images()
    assert not torch.equal(supernet(pixels, SPACE.largest()), plain(pixels, SPACE.largest()))
    assert torch.equal(supernet(pixels, SPACE.smallest()), plain(pixels, SPACE.smallest()))
    with torch.no_grad():
        assert torch.equal(supernet(pixels, SPACE.largest()), plain(pixels, SPACE.largest()))
    plain.load_state_dict(supernet.state_dict())
    assert torch.equal(supernet.eval()(pixels, SPACE.largest()), plain.eval()(pixels, SPACE.largest()))


def test_it_follows_from_the_seed_and_is_the_same_where_blocks_are_computed_again() -> None:
    gradients = []
    for recompute in (False, True):
        supernet = dropping(recompute=recompute)
        torch.manual_seed(7)
        supernet(images(), SPACE.largest()).square().sum().backward()
        gradients.append({name: each.grad for name, each in supernet.named_parameters() if each.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, msg=name)
