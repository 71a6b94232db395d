"""Subnets are values: validated by their space, readable as text, sampled by a generator alone."""

import json
from dataclasses import asdict, replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.supernet.layer import round_channels
from pipeline.supernet.networks import NETWORKS
from pipeline.supernet.space import Space
from pipeline.supernet.space_json import space_from_dict
from pipeline.supernet.subnet import Subnet, SubnetError
from tests.pipeline.supernet.spaces import OPEN, patiently, spaces

SPACE = NETWORKS["mobilenet_v3"]
DRAWN = [
    "d2.2.2.4.4-k37.35.75.3753.3735-e43.46.43.4446.6443-r224",
    "d3.3.3.2.3-k373.557.577.77.537-e633.634.666.34.664-r224",
    "d3.3.3.3.2-k553.755.375.735.53-e443.363.644.664.43-r224",
]


def sampled(count: int, seed: int = 0) -> list[Subnet]:
    generator = torch.Generator().manual_seed(seed)
    return [SPACE.sample(generator) for _ in range(count)]


@pytest.mark.parametrize("network", NETWORKS)
def test_the_text_of_a_subnet_parses_back(network: str) -> None:
    space = NETWORKS[network]
    generator = torch.Generator().manual_seed(3)
    subnets = [space.sample(generator) for _ in range(200)] + [subnet for _, subnet in space.pareto_row()]
    for subnet in subnets:
        assert space.parse(str(subnet)) == subnet


def test_uniform_subnets_have_a_short_text() -> None:
    assert str(SPACE.largest()) == "d4-k7-e6-r224"
    assert SPACE.parse("d2.2.3.2.4-k3-e4-r160").depths == (2, 2, 3, 2, 4)


def test_sampling_depends_on_the_generator_alone_and_reaches_every_choice() -> None:
    assert sampled(20, seed=1) == sampled(20, seed=1)
    assert sampled(20, seed=1) != sampled(20, seed=2)
    many = sampled(300)
    assert all(SPACE.validate(subnet) for subnet in many)
    for stage in range(len(SPACE.stages)):
        assert {subnet.depths[stage] for subnet in many} == {2, 3, 4}
        assert {kernel for subnet in many for kernel in subnet.kernels[stage]} == {3, 5, 7}
        assert {expand for subnet in many for expand in subnet.expands[stage]} == {3, 4, 6}


def test_a_generator_gives_the_subnets_that_it_always_gave() -> None:
    """Drawn by the first version of this space: all depths, then all kernel sizes, then all expand ratios."""
    assert [str(subnet) for subnet in sampled(3, seed=11)] == DRAWN


@patiently
@given(space=spaces(), seed=st.integers(0, 1000))
def test_dimensions_tell_all_of_a_subnet(space: Space, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    subnet = space.sample(generator)
    chosen = space.choices(subnet)
    assert space.validate(space.assemble(chosen)) == subnet
    for dimension, value in chosen.items():
        if dimension.what != "resolution":
            assert value in dimension.choices
        for other in dimension.choices:
            mutated = space.validate(space.assemble({**chosen, dimension: other}))
            assert (mutated == subnet) is (other == value)
            assert dimension.of(mutated) == other


def test_ratios_that_are_tied_to_the_depth_are_no_choice() -> None:
    """CompOFA's space: 3 choices in each of 5 stages."""
    stages = tuple(
        replace(stage, kernels=(kernel,), ties=((2, 3), (3, 4), (4, 6)))
        for stage, kernel in zip(SPACE.stages, (3, 5, 3, 3, 5), strict=True)
    )
    space = replace(SPACE, stages=stages)
    generator = torch.Generator().manual_seed(0)
    subnets = {space.sample(generator) for _ in range(4000)}
    assert len(subnets) == 3**5
    assert all(SPACE.validate(subnet) for subnet in subnets)
    assert str(space.smallest()) == "d2-k33.55.33.33.55-e3-r224"
    assert str(space.uniform(3)) == "d3-k333.555.333.333.555-e4-r224"
    assert not any(dimension.what == "expand" for dimension in space.dimensions())


def test_a_restriction_holds_fewer_subnets_of_the_same_network() -> None:
    space = SPACE.restricted(depths=(3, 4), expands=(6,))
    generator = torch.Generator().manual_seed(0)
    for subnet in (space.smallest(), space.largest(), *(space.sample(generator) for _ in range(20))):
        assert SPACE.validate(subnet)
        assert set(subnet.depths) <= {3, 4}
        assert {ratio for stage in subnet.expands for ratio in stage} == {6}
    assert space.largest() == SPACE.largest()
    with pytest.raises(SubnetError, match=r"depths: none of \[5\] is one of \[2, 3, 4\]"):
        SPACE.restricted(depths=[5])
    assert OPEN.restricted(depths=(1, 3), widths=(16, 32)).stages[1].depths == (2,)  # has no choice, and keeps its own


@patiently
@given(space=spaces(), seed=st.integers(0, 1000), data=st.data())
def test_what_a_restriction_holds_is_held_by_the_whole(space: Space, seed: int, data: st.DataObject) -> None:
    def some(name: str) -> set[float]:
        """Of the values of `name`, at least one of each stage."""
        return {data.draw(st.sampled_from(getattr(stage, name))) for stage in space.stages}

    names = ("widths", "depths", "kernels", "expands")
    restricted = space.restricted(**{name: some(name) for name in names if data.draw(st.booleans())})
    generator = torch.Generator().manual_seed(seed)
    for subnet in (restricted.sample(generator), restricted.smallest(), restricted.largest()):
        assert space.parse(str(space.validate(subnet))) == subnet


def test_one_value_for_all_stages_leaves_those_without_a_choice_as_they_are() -> None:
    assert OPEN.uniform(depth=1).depths == (1, 2, 1)
    assert OPEN.parse("d1-k3.33.5-e1.22.2-s8.1-w16.0.32-h64.48-r16").depths == (1, 2, 1)
    with pytest.raises(SubnetError, match=r"stage 1: depth 7 is none of \[1, 3\]"):
        OPEN.uniform(depth=7)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("d5-k7-e6-r224", r"depth 5 is none of \[2, 3, 4\]"),
        ("d2-k4-e6-r224", r"kernel 4 is none of \[3, 5, 7\]"),
        ("d2-k3-e5-r224", r"expand ratio 5 is none of \[3, 4, 6\]"),
        ("d2.2-k3-e3-r224", "depths are needed for 5 stages, not 2"),
        ("d2-k3-e3", "is no subnet"),
        ("d٣-k3-e3-r224", "is no subnet"),
        ("d2-k3-e3-r" + "9" * 5000, "is no subnet"),
        ("d2-k3-e3-r4097", "resolution 4097 is no number of pixels from 1 to 4096"),
        ("d99999999999-k3-e3-r224", "stage 1: depth 99999999999 is none of"),
        ("d2-k..-e3-r224", "a group between dots is empty"),
        ("d2-k33.33.33.33.3-e3-r224", "stage 5: depth 2 needs as many kernels"),
    ],
)
def test_a_wrong_subnet_is_refused_with_the_value_and_the_legal_ones(text: str, complaint: str) -> None:
    with pytest.raises(SubnetError, match=complaint):
        SPACE.parse(text)


def test_a_subnet_does_not_depend_on_choices_of_inactive_blocks() -> None:
    shallow = SPACE.uniform(2, 3, 3)
    assert all(len(kernels) == 2 for kernels in shallow.kernels)
    assert len({shallow, SPACE.parse(str(shallow))}) == 1


def test_the_full_model_is_full_at_any_resolution() -> None:
    assert SPACE.is_full(replace(SPACE.largest(), resolution=160))
    assert not SPACE.is_full(SPACE.smallest())


def test_a_space_survives_json() -> None:
    for space in NETWORKS.values():
        assert space_from_dict(json.loads(json.dumps(asdict(space)))) == space


@pytest.mark.parametrize(("channels", "rounded"), [(7, 8), (8, 8), (19.2, 24), (20.8, 24), (115.2, 112), (960, 960)])
def test_channels_round_to_multiples_of_eight_never_losing_more_than_a_tenth(channels: float, rounded: int) -> None:
    assert round_channels(channels) == rounded
