"""Subnets are values: validated by their space, readable as text, sampled by a generator alone."""

import json
from dataclasses import asdict, replace

import pytest
import torch

from pipeline.errors import UsageError
from pipeline.supernet.layer import round_channels
from pipeline.supernet.networks import NETWORKS, SpaceConfig, build_space
from pipeline.supernet.space_json import space_from_dict
from pipeline.supernet.subnet import Subnet, SubnetError

SPACE = NETWORKS["mobilenet_v3"]


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


def test_with_several_resolutions_the_extremes_have_the_extreme_ones_and_the_row_rises() -> None:
    space = build_space(SpaceConfig(network="mobilenet_v3", resolutions=(224, 128, 160)))
    assert space.resolutions == (128, 160, 224)
    assert (space.smallest().resolution, space.largest().resolution) == (128, 224)
    row = [subnet.resolution for _, subnet in space.pareto_row()]
    assert row == sorted(row)
    assert set(row) == {128, 160, 224}


@pytest.mark.parametrize("resolutions", [(0,), (32, 32), (-224, 224), (4097,), (10**90,)])
def test_resolutions_that_cannot_be_are_refused(resolutions: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="must be distinct numbers of pixels from 1 to 4096"):
        SpaceConfig(network="mobilenet_v3", resolutions=resolutions)


def test_a_recipe_narrows_the_space() -> None:
    space = build_space(SpaceConfig(network="mobilenet_v3", kernels=(7,), resolutions=(160,)), classes=100)
    assert (space.resolution, space.classes) == (160, 100)
    assert all((stage.kernels, stage.depths) == ((7,), (2, 3, 4)) for stage in space.stages)


def test_a_class_count_that_does_not_fit_the_data_is_refused() -> None:
    with pytest.raises(UsageError, match=r"space\.classes: the recipe says 10, the data set has 100 classes"):
        build_space(SpaceConfig(network="mobilenet_v3", classes=10), classes=100)


def test_a_space_survives_json() -> None:
    for space in NETWORKS.values():
        assert space_from_dict(json.loads(json.dumps(asdict(space)))) == space


@pytest.mark.parametrize(("channels", "rounded"), [(7, 8), (8, 8), (19.2, 24), (20.8, 24), (115.2, 112), (960, 960)])
def test_channels_round_to_multiples_of_eight_never_losing_more_than_a_tenth(channels: float, rounded: int) -> None:
    assert round_channels(channels) == rounded
