"""A subnet's text tells all of it, in whatever space."""

import json
from dataclasses import asdict

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.supernet.networks import NETWORKS
from pipeline.supernet.space import Space
from pipeline.supernet.space_json import space_from_dict
from pipeline.supernet.subnet import BlockChoice, StageChoice, Subnet, SubnetError
from tests.pipeline.supernet.spaces import OPEN, patiently, spaces

SPACE = NETWORKS["mobilenet_v3"]


@patiently
@given(space=spaces(), seed=st.integers(0, 1000))
def test_the_text_of_any_subnet_of_any_space_parses_back(space: Space, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for subnet in (space.sample(generator), space.largest(), space.smallest()):
        assert space.parse(str(subnet)) == subnet
        assert str(space.parse(str(subnet))) == str(subnet)


@patiently
@given(space=spaces())
def test_any_space_survives_json(space: Space) -> None:
    again = space_from_dict(json.loads(json.dumps(asdict(space))))
    assert again == space
    assert str(again.largest()) == str(space.largest())


def test_texts_are_as_they_were_when_there_was_one_network() -> None:
    """Written by hand: a dimension that is uniform once, else a group per stage."""
    stages = (
        StageChoice(None, (BlockChoice(3, 6), BlockChoice(5, 6))),
        StageChoice(None, (BlockChoice(7, 3), BlockChoice(7, 4), BlockChoice(7, 6))),
    )
    assert str(Subnet((), stages, (), 224)) == "d2.3-k35.777-e66.346-r224"
    assert str(SPACE.largest()) == "d4-k7-e6-r224"
    assert str(SPACE.smallest()) == "d2-k3-e3-r224"


def test_what_a_space_leaves_open_besides_is_told_too() -> None:
    assert str(OPEN.largest()) == "d3.2.2-k555.77.55-e2p5_2p5_2p5.33.44-s16.2-w24.0.40-h96.80-r24"
    assert OPEN.largest().widths == (24, None, 40)
    assert OPEN.parse("d1.2.2-k3.73.55-e0p5.23.44-s8.1-w16.0.32-h64.48-r16").expands == ((0.5,), (2, 3), (4, 4))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("d1.2.2-k3.73.55-e0p5.23.44-s8.1-w16.0.33-h64.48-r16", r"stage 3: width 33 is none of \[32, 40\]"),
        ("d1.2.2-k3.73.55-e0p5.23.44-s9.1-w16.0.32-h64.48-r16", r"stem: choice 9 is none of \[8, 16\]"),
        ("d1.2.2-k3.73.55-e0p5.23.44-w16.0.32-h64.48-r16", "is none of this space, .*-s16.2-.* is one"),
        ("d1.2.2-k3.73.55-e0p5.23.44-s8.1-w16.24.32-h64.48-r16", "is none of this space"),  # of a fixed width
        ("d1.2.2-k3.73.55-e0p5.23.24-s8.1-w16.0.32-h64.48-r16", "is none of this space, .*-e0p5.23.44-"),  # tied
        ("d3.2.2-k355.73.55-e0p5.23.44-s8.1-w16.0.32-h64.48-r16", "as many kernels and expand ratios"),
        (
            "d3.2.2-k355.73.55-e1_1_1.23.44-s8.1-w16.0.32-h64.48-r16",
            "is none of this space, .*-k333.73.55-",
        ),  # per stage
        ("d1.2.2-k3.73.55-e0p5.23.44-s8.1-w16.0-h64.48-r16", "widths are needed for 3 stages, not 2"),
        ("d1.2.2-k3_p.73.55-e0p5.23.44-s8.1-w16.0.32-h64.48-r16", "3_p are no values"),
        ("d1.2.2-k3.73-e0p5.23.44-s8.1-w16.0.32-h64.48-r16", "kernels are needed for 3 stages, not 2"),
    ],
)
def test_what_a_space_does_not_hold_is_refused_with_what_it_does(text: str, complaint: str) -> None:
    with pytest.raises(SubnetError, match=complaint):
        OPEN.parse(text)
