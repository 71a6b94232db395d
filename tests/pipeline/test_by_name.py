"""A section of the recipe that is one of several models is told apart by its name, and may leave the default's out."""

from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ValidationError

from pipeline.by_name import ByName, member, members


class Round(BaseModel, extra="forbid"):
    name: Literal["round", "circular"] = "round"
    radius: float = 1


class Square(BaseModel, extra="forbid"):
    name: Literal["square"] = "square"
    side: float = 2


class Drawing(BaseModel):
    shape: Annotated[Round | Square, ByName(default="square")] = Square()
    only: Annotated[Round, ByName(default="circular")] = Round()
    colour: str = "red"


SHAPE, ONLY, COLOUR = (Drawing.model_fields[name] for name in ("shape", "only", "colour"))


def test_the_name_chooses_and_without_one_it_is_the_default() -> None:
    assert Drawing.model_validate({"shape": {"name": "round", "radius": 3}}).shape == Round(radius=3)
    assert Drawing.model_validate({"shape": {"side": 3}}).shape == Square(side=3)
    assert Drawing.model_validate({"only": {}}).only.name == "circular"
    assert Drawing(shape=Round()).shape == Round()


@pytest.mark.parametrize("shape", [{"name": "oval"}, {"name": "round", "side": 3}, {"radius": 3}, {"name": None}, 3])
def test_what_is_no_member_is_refused(shape: object) -> None:
    with pytest.raises(ValidationError):
        Drawing.model_validate({"shape": shape})


def test_what_it_is_written_as_is_read_again() -> None:
    for shape in (Round(radius=5), Square(side=5)):
        drawing = Drawing(shape=shape)
        assert Drawing.model_validate_json(drawing.model_dump_json()) == drawing


def test_members_are_known_by_all_of_their_names() -> None:
    assert members(SHAPE) == {"round": Round, "circular": Round, "square": Square}
    assert members(ONLY) == {"round": Round, "circular": Round}
    assert members(COLOUR) == {}
    assert [member(SHAPE, content) for content in ({}, {"name": "round"}, {"name": ["x"]})] == [Square, Round, None]
    assert member(COLOUR, {"name": "round"}) is None
