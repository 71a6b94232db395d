"""What the recipe's `space` has for every network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection

from pydantic import BaseModel, ConfigDict, Field, field_validator

from pipeline.supernet.dimension import MOST_SIDE
from pipeline.supernet.space import Space


class NetworkConfig(BaseModel, ABC):
    """A named network and the choices of its elastic dimensions.

    Each kind of network adds `network`, the names that it goes by, and its own keys.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    resolutions: tuple[int, ...] = Field(
        default=(), description="sides of the input, pixels; each training step draws one"
    )
    classes: int = Field(default=0, ge=0, le=100_000, description="number of classes; 0 takes the data set's")

    @field_validator("resolutions")
    @classmethod
    def _check_resolutions(cls, sides: tuple[int, ...]) -> tuple[int, ...]:
        if any(not 1 <= side <= MOST_SIDE for side in sides) or len(set(sides)) != len(sides):
            raise ValueError(f"resolutions: {list(sides)} must be distinct numbers of pixels from 1 to {MOST_SIDE}")
        return sides

    @abstractmethod
    def space(self, classes: int | None = None) -> Space:
        """The space that it describes.

        Args:
            classes: to take where it gives none itself.
        """


def check_choices(config: NetworkConfig, **legal: Collection[float]) -> None:
    """Raises ValueError where one of the `config`'s lists of choices has a value twice or one that is not legal."""
    for name, values in legal.items():
        chosen = getattr(config, name)
        if any(value not in values for value in chosen) or len(set(chosen)) != len(chosen):
            raise ValueError(f"{name}: {list(chosen)} must be distinct values out of {list(values)}")
