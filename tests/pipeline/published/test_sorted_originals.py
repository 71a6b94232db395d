"""Our sorting of channels by importance, against the originals' written out in their own layouts: exact."""

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from pipeline.supernet.networks import NETWORKS, build_space, named
from pipeline.supernet.reorganise import channel_groups, channel_orders, reorganise
from pipeline.supernet.space import Space
from tests.pipeline.published.as_ours import our_state
from tests.pipeline.published.made_up import Family, made_up_state
from tests.pipeline.published.originals import RESNET50_FIRST_BLOCKS, r8
from tests.pipeline.published.test_against_originals import LOGITS, chosen, expect, pixels

State = dict[str, Tensor]
Sort = Callable[[State, Sequence[float]], State]
BN = ("weight", "bias", "running_mean", "running_var")


def sorted_ofa(state: State, kept: Sequence[float]) -> State:
    """Of Proxyless and MobileNetV3: the expanded channels, then the reduced ones of squeeze-and-excite.

    Args:
        kept: expand ratios between which the expanded channels are sorted apart.
    """
    state = dict(state)
    for block in (name.removesuffix(".point_linear.conv.conv.weight") for name in list(state)):
        if f"{block}.inverted_bottleneck.conv.conv.weight" not in state:
            continue
        reads = state[f"{block}.point_linear.conv.conv.weight"]  # [O, M, 1, 1]
        inputs = state[f"{block}.inverted_bottleneck.conv.conv.weight"].shape[1]
        order = descending(norm(reads, by=1), [r8(round(inputs * ratio)) for ratio in kept])
        permute(state, f"{block}.point_linear.conv.conv.weight", order, axis=1)
        for layer in ("depth_conv", "inverted_bottleneck"):
            permute(state, f"{block}.{layer}.conv.conv.weight", order)
            for each in BN:
                permute(state, f"{block}.{layer}.bn.bn.{each}", order)
        excite = f"{block}.depth_conv.se.fc"
        if f"{excite}.reduce.weight" not in state:
            continue
        permute(state, f"{excite}.reduce.weight", order, axis=1)
        permute(state, f"{excite}.expand.weight", order)
        permute(state, f"{excite}.expand.bias", order)
        middle = len(order)
        widths = [r8(r8(round(inputs * ratio)) // 4) for ratio in kept if r8(round(inputs * ratio)) < middle]
        order = descending(norm(state[f"{excite}.expand.weight"], by=1), widths)
        permute(state, f"{excite}.expand.weight", order, axis=1)
        permute(state, f"{excite}.reduce.weight", order)
        permute(state, f"{excite}.reduce.bias", order)
    return state


def sorted_resnet50(state: State, kept: Sequence[float]) -> State:
    """In each block the outputs of conv2, then those of conv1."""
    state = dict(state)
    for block in range(18):
        outputs = (256, 512, 1024, 2048)[sum(block >= first for first in RESNET50_FIRST_BLOCKS) - 1]
        bounds = [r8(round(outputs * ratio)) for ratio in kept]
        for layer, reader in (("conv2", "conv3"), ("conv1", "conv2")):
            order = descending(norm(state[f"blocks.{block}.{reader}.conv.conv.weight"], by=1), bounds)
            permute(state, f"blocks.{block}.{reader}.conv.conv.weight", order, axis=1)
            permute(state, f"blocks.{block}.{layer}.conv.conv.weight", order)
            for each in BN:
                permute(state, f"blocks.{block}.{layer}.bn.bn.{each}", order)
    return state


def norm(weight: Tensor, by: int) -> Tensor:
    return weight.abs().transpose(0, by).flatten(1).sum(1)


def descending(importance: Tensor, bounds: Sequence[int]) -> Tensor:
    """The order of the channels, greatest importance first, between neighbouring bounds."""
    order: list[int] = []
    for start, end in zip([0, *bounds], [*bounds, len(importance)], strict=True):
        order += sorted(range(start, end), key=lambda channel: -importance[channel].item())
    return torch.tensor(order)


def permute(state: State, name: str, order: Tensor, axis: int = 0) -> None:
    state[name] = state[name].index_select(axis, order)


def ours_sorted(space: Space, state: State, trained: Space | None = None) -> State:
    ours = our_state(state)
    return reorganise(ours, channel_orders(ours, channel_groups(space, trained)))


def in_double(family: Family) -> State:
    """In float64, so that no two channels are as important but for the order in which they are summed."""
    return {name: tensor.double() for name, tensor in made_up_state(family, classes=20).items()}


SORTS: dict[Family, Sort] = {
    "mobilenet_v3": sorted_ofa,
    "proxyless": sorted_ofa,
    "resnet50": sorted_resnet50,
}


@pytest.mark.parametrize("family", SORTS)
@torch.no_grad()
def test_the_full_sort(family: Family) -> None:
    state, space = in_double(family), build_space(named(family), classes=20)
    by_hand = SORTS[family](state, [])
    expect_equal(ours_sorted(space, state), our_state(by_hand))
    choice = chosen(family, max)
    before, after = (LOGITS[family](each, pixels(64), **choice) for each in (state, by_hand))
    expect(after, before, 1e-12)  # the full model computes on


@pytest.mark.parametrize("family", SORTS)
def test_between_the_widths_that_train_already(family: Family) -> None:
    """On entering OFA's second expand phase: 4 and 6 train already; in ResNet50D 0.25 and 0.35 of the full widths."""
    state, space = in_double(family), NETWORKS[family]
    if family == "resnet50":
        trained = space.restricted(expands=(0.25, 0.35), widths=(256, 512, 1024, 2048))
        kept = [0.25]
    else:
        trained, kept = space.restricted(expands=(4, 6)), [4]
    by_hand = SORTS[family](state, kept)
    full = SORTS[family](state, [])
    assert any(not torch.equal(by_hand[name], full[name]) for name in state)
    expect_equal(ours_sorted(space, state, trained), our_state(by_hand))


def expect_equal(found: State, expected: State) -> None:
    assert found.keys() == expected.keys()
    assert [name for name in found if not torch.equal(found[name], expected[name])] == []
