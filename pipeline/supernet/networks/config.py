"""What the recipe's `space` has for every network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

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

    def chosen(self, own: Any, *names: str) -> dict[str, tuple[Any, ...]]:
        """The choices of these keys, ascending; those of `own`, the network's, where the recipe gives none."""
        return {name: tuple(sorted(getattr(self, name))) or getattr(own, name) for name in names}

    @abstractmethod
    def space(self, classes: int | None = None) -> Space:
        """The space that it describes.

        Args:
            classes: to take where it gives none itself.
        """


class BlockwiseConfig(NetworkConfig):
    """What the recipe's `space` has for networks of inverted bottlenecks whose choices are the same in every stage."""

    depths: tuple[int, ...] = Field(default=(), description="numbers of blocks a stage may have")
    kernels: tuple[int, ...] = Field(default=(), description="depthwise kernel sizes")
    expands: tuple[int, ...] = Field(default=(), description="expand ratios")

    @model_validator(mode="after")
    def _check(self) -> BlockwiseConfig:
        check_choices(self, depths=range(1, 9), kernels=(3, 5, 7), expands=range(1, 10))
        return self


def check_choices(config: NetworkConfig, **legal: Collection[float]) -> None:
    """Raises ValueError where one of the `config`'s lists of choices has a value twice or one that is not legal."""
    for name, values in legal.items():
        chosen = getattr(config, name)
        if any(value not in values for value in chosen) or len(set(chosen)) != len(chosen):
            raise ValueError(f"{name}: {list(chosen)} must be distinct values out of {list(values)}")
