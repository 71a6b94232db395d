"""The networks by name, and what a recipe makes of them."""

import pytest

from pipeline.errors import UsageError
from pipeline.supernet.networks import NETWORKS, build_space, named
from pipeline.supernet.space import Space


def test_with_several_resolutions_the_extremes_have_the_extreme_ones_and_the_row_rises() -> None:
    space = build_space(named("mobilenet_v3", resolutions=(224, 128, 160)))
    assert space.resolutions == (128, 160, 224)
    assert (space.smallest().resolution, space.largest().resolution) == (128, 224)
    row = [subnet.resolution for _, subnet in space.pareto_row()]
    assert row == sorted(row)
    assert set(row) == {128, 160, 224}


@pytest.mark.parametrize("resolutions", [(0,), (32, 32), (-224, 224), (4097,), (10**90,)])
def test_resolutions_that_cannot_be_are_refused(resolutions: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="must be distinct numbers of pixels from 1 to 4096"):
        named("mobilenet_v3", resolutions=resolutions)


def test_a_recipe_narrows_the_space() -> None:
    space = build_space(named("mobilenet_v3", kernels=(7,), resolutions=(160,)), classes=100)
    assert (space.resolution, space.classes) == (160, 100)
    assert all((stage.kernels, stage.depths) == ((7,), (2, 3, 4)) for stage in space.stages)


def test_a_class_count_that_does_not_fit_the_data_is_refused() -> None:
    with pytest.raises(UsageError, match=r"space\.classes: the recipe says 10, the data set has 100 classes"):
        build_space(named("mobilenet_v3", classes=10), classes=100)


@pytest.mark.parametrize("network", NETWORKS)
def test_a_network_is_what_its_name_alone_builds(network: str) -> None:
    assert build_space(named(network)) == NETWORKS[network]
    assert isinstance(NETWORKS[network], Space)


def test_a_key_that_a_network_does_not_have_is_refused_with_those_that_it_has() -> None:
    with pytest.raises(
        UsageError, match=r"space\.girth: network 'mobilenet_v3' has no such key; legal keys: classes, "
    ):
        named("mobilenet_v3", girth=2)
