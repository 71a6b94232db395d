"""Sorting channels by importance keeps the full model and improves subnets that were never trained."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from data_shards.sources.digits import scanned_digits
from pipeline.evaluation.recalibrate import recalibrate
from pipeline.supernet.extract import extract
from pipeline.supernet.networks import NETWORKS
from pipeline.supernet.reorganise import channel_groups, channel_orders, reorganise
from pipeline.supernet.space import Space
from pipeline.supernet.supernet import Supernet
from tests.pipeline.supernet.spaces import OPEN
from tests.pipeline.supernet.test_supernet import images, lively


def reorganised(supernet: Supernet) -> Supernet:
    state = supernet.state_dict()
    sorted_supernet = Supernet(supernet.space).to(next(supernet.parameters()).dtype)
    orders = channel_orders(state, channel_groups(supernet.space))
    sorted_supernet.load_state_dict(reorganise(state, orders))
    return sorted_supernet


@pytest.mark.parametrize(
    "network", ["mobilenet_v3", "mobilenet_v3_digits", "proxyless_digits", "resnet50_digits", "attentive_nas_digits"]
)
def test_the_full_models_logits_do_not_change(network: str) -> None:
    space = NETWORKS[network]
    before = lively(space).double().eval()
    after = reorganised(before).eval()
    sorted_weight = "blocks.1.conv3.weight" if "resnet" in network else "blocks.2.project.weight"
    assert not torch.equal(before.get_parameter(sorted_weight), after.get_parameter(sorted_weight))
    with torch.no_grad():
        expected = before(images().double(), space.largest())
        assert expected.std() > 1e-3
        torch.testing.assert_close(after(images().double(), space.largest()), expected, atol=1e-11, rtol=1e-11)


def test_importance_descends_afterwards() -> None:
    supernet = reorganised(lively(NETWORKS["mobilenet_v3"]))
    for block in list(supernet.blocks)[1:]:
        importance = block.project.weight.abs().sum((0, 2, 3))
        assert torch.all(importance[:-1] >= importance[1:])
        if hasattr(block, "squeeze_excite"):
            reduced = block.squeeze_excite.expand.weight.abs().sum(0)
            assert torch.all(reduced[:-1] >= reduced[1:])


def test_a_second_sort_changes_nothing() -> None:
    once = reorganised(lively(NETWORKS["mobilenet_v3_digits"]))
    twice = reorganised(once)
    for name, tensor in once.state_dict().items():
        assert torch.equal(tensor, twice.state_dict()[name])


def test_momentum_is_sorted_with_the_weights() -> None:
    """Sorting and then stepping is stepping and then sorting in the same order."""
    space = NETWORKS["mobilenet_v3_digits"]
    state = lively(space).state_dict()
    orders = channel_orders(state, channel_groups(space))
    momentum = {name: torch.randn_like(tensor) for name, tensor in state.items()}
    stepped = {name: tensor - 0.1 * momentum[name] for name, tensor in state.items()}
    sorted_state, sorted_momentum = reorganise(state, orders), reorganise(momentum, orders)
    for name, expected in reorganise(stepped, orders).items():
        torch.testing.assert_close(sorted_state[name] - 0.1 * sorted_momentum[name], expected)


def test_between_bounds_subnets_that_train_already_keep_their_channels() -> None:
    """As on entering OFA's second expand phase: what trains is sorted apart, and its subnets compute on."""
    for space in (NETWORKS["mobilenet_v3"], OPEN):
        trained = space.restricted(expands=(4, 6)) if space is not OPEN else space.restricted(expands=(1, 2, 2.5))
        supernet = lively(space).eval()
        state = supernet.state_dict()
        orders = channel_orders(state, channel_groups(space, trained))
        after = Supernet(space).eval()
        after.load_state_dict(reorganise(state, orders))
        assert not torch.equal(after.blocks[-1].project.weight, supernet.blocks[-1].project.weight)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for subnet in (trained.smallest(), trained.largest(), *(trained.sample(generator) for _ in range(3))):
                expected = supernet(images(), subnet)
                torch.testing.assert_close(after(images(), subnet), expected, atol=1e-4, rtol=1e-4)
        full_sort = Supernet(space).eval()
        full_sort.load_state_dict(reorganise(state, channel_orders(state, channel_groups(space))))
        with torch.no_grad():  # which gives other channels to small subnets
            assert (full_sort(images(), trained.smallest()) - supernet(images(), trained.smallest())).abs().max() > 1e-3


def test_the_bounds_are_the_channels_that_ratios_come_to() -> None:
    space = NETWORKS["mobilenet_v3"]
    groups = channel_groups(space, space.restricted(expands=(4, 6), depths=(2, 3)))
    by_reader = {group.readers[0].tensor: group.bounds for group in groups}
    # The first block of stage 1 has 16 inputs, the second 24; of stage 2 24, then 40; SE has a quarter.
    assert by_reader["blocks.1.project.weight"] == (64, 96)
    assert by_reader["blocks.2.project.weight"] == (96, 144)
    assert by_reader["blocks.4.project.weight"] == ()  # trains in no subnet yet
    assert by_reader["blocks.5.project.weight"] == (96, 144)
    assert by_reader["blocks.5.squeeze_excite.expand.weight"] == (24, 40)  # 36 is rounded to a multiple of 8
    assert all(group.bounds == () for group in channel_groups(space))
    widths = OPEN.restricted(expands=(1, 2, 2.5))
    first, second = (group.bounds for group in channel_groups(OPEN, widths)[:2])
    assert (first, second) == ((16, 40), (16, 24, 40, 64))  # of 16 inputs; of 16 or 24


def test_importance_descends_between_bounds_alone() -> None:
    space = NETWORKS["mobilenet_v3_digits"]
    state = lively(space).state_dict()
    trained = space.restricted(expands=(4,))
    after = reorganise(state, channel_orders(state, channel_groups(space, trained)))
    importance = after["blocks.1.project.weight"].abs().sum((0, 2, 3))
    assert torch.all(importance[:63] >= importance[1:64])
    assert torch.all(importance[64:-1] >= importance[65:])
    assert importance[64] > importance[63]


def test_untrained_small_subnets_agree_more_with_the_trained_full_model() -> None:
    space = NETWORKS["mobilenet_v3_digits"]
    scans, labels = (torch.from_numpy(array) for array in scanned_digits())
    pixels = F.interpolate(scans.float()[:, None] / 8 - 1, size=(32, 32), mode="bilinear").expand(-1, 3, -1, -1)
    supernet = train_full_model(space, pixels, labels.long())
    before, after = (agreement(each, pixels[:400]) for each in (supernet, reorganised(supernet)))
    assert after > before + 0.05


def train_full_model(space: Space, pixels: Tensor, labels: Tensor) -> Supernet:
    torch.manual_seed(0)
    supernet = Supernet(space)
    optimizer = torch.optim.SGD(supernet.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-4)
    for _ in range(90):
        batch = torch.randint(len(pixels), (64,))
        optimizer.zero_grad()
        F.cross_entropy(supernet(pixels[batch], space.largest()), labels[batch]).backward()
        optimizer.step()
    return supernet.eval()


@torch.no_grad()
def agreement(supernet: Supernet, pixels: Tensor) -> float:
    """Share of images that narrow subnets, recalibrated, classify as the full model does."""
    space = supernet.space
    full = supernet(pixels, space.largest()).argmax(1)
    shares = []
    for expand in space.stages[0].expands[:-1]:
        network = extract(supernet, space.uniform(expand=expand))
        recalibrate(network, pixels.split(100))
        shares.append((network(pixels).argmax(1) == full).float().mean())
    return float(torch.stack(shares).mean())
