"""The networks by name, and the recipe's choice among them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pipeline.supernet.space import MOST_SIDE, Space, Stage, SubnetError, round_channels


class SpaceConfig(BaseModel):
    """The recipe's `space`: a named network and the choices of its elastic dimensions.

    Every key but `network` defaults to the network's own value, listed in `NETWORKS`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    network: Literal["mobilenet_v3", "mobilenet_v3_32px", "mobilenet_v3_digits"]
    width: float = Field(default=1.0, gt=0, le=4)
    depths: tuple[int, ...] = Field(default=(), description="numbers of blocks a stage may have")
    kernels: tuple[int, ...] = Field(default=(), description="depthwise kernel sizes")
    expands: tuple[int, ...] = Field(default=(), description="expand ratios")
    resolutions: tuple[int, ...] = Field(
        default=(), description="sides of the input, pixels; each training step draws one"
    )
    classes: int = Field(default=0, ge=0, le=100_000, description="number of classes; 0 takes the data set's")

    @model_validator(mode="after")
    def _check(self) -> SpaceConfig:
        for name, legal in (("depths", range(1, 9)), ("kernels", (3, 5, 7)), ("expands", range(1, 10))):
            values = getattr(self, name)
            if any(value not in legal for value in values) or len(set(values)) != len(values):
                raise ValueError(f"{name}: {list(values)} must be distinct values out of {list(legal)}")
        sides = self.resolutions
        if any(not 1 <= side <= MOST_SIDE for side in sides) or len(set(sides)) != len(sides):
            raise ValueError(f"resolutions: {list(sides)} must be distinct numbers of pixels from 1 to {MOST_SIDE}")
        return self


_MOBILENET_V3 = Space(
    stem=16,
    stem_stride=2,
    first=16,
    stages=(
        Stage(24, 2, "relu", False),
        Stage(40, 2, "relu", True),
        Stage(80, 2, "h_swish", False),
        Stage(112, 1, "h_swish", True),
        Stage(160, 2, "h_swish", True),
    ),
    last=(960, 1280),
    depths=(2, 3, 4),
    kernels=(3, 5, 7),
    expands=(3, 4, 6),
    resolutions=(224,),
    classes=1000,
)


def _with_strides(space: Space, strides: tuple[int, ...], **changes: Any) -> Space:
    stages = tuple(replace(stage, stride=stride) for stage, stride in zip(space.stages, strides, strict=True))
    return replace(space, stages=stages, **changes)


NETWORKS: dict[str, Space] = {
    # OFA's MobileNetV3 (Cai et al., ICLR 2020), the space of the DεpS paper's main results.
    "mobilenet_v3": _MOBILENET_V3,
    # The DεpS paper's CIFAR variant: the same at 32 px.
    "mobilenet_v3_32px": _with_strides(_MOBILENET_V3, (1, 2, 2, 1, 2), stem_stride=1, resolutions=(32,), classes=10),
    # Two stages less deep into the pyramid, for the demo's 32-px digits in minutes on two CPU cores.
    "mobilenet_v3_digits": Space(
        stem=16,
        stem_stride=2,
        first=16,
        stages=(Stage(24, 2, "relu", True), Stage(40, 2, "h_swish", True)),
        last=(160, 192),
        depths=(1, 2),
        kernels=(3, 5),
        expands=(3, 4, 6),
        resolutions=(32,),
        classes=10,
    ),
}


def build_space(config: SpaceConfig, classes: int | None = None) -> Space:
    """The space that a recipe describes.

    Args:
        classes: the data set's number of classes, taken where the recipe gives none.

    Raises:
        SubnetError: where the recipe's class count is not the data set's.
    """
    space = NETWORKS[config.network]
    if config.classes and classes and config.classes != classes:
        raise SubnetError(f"space.classes: the recipe says {config.classes}, the data set has {classes} classes")
    scaled = [round_channels(channels * config.width) for channels in (space.stem, space.first, *space.last)]
    return replace(
        space,
        stem=scaled[0],
        first=scaled[1],
        stages=tuple(replace(stage, channels=round_channels(stage.channels * config.width)) for stage in space.stages),
        last=(scaled[2], scaled[3]),
        depths=tuple(sorted(config.depths)) or space.depths,
        kernels=tuple(sorted(config.kernels)) or space.kernels,
        expands=tuple(sorted(config.expands)) or space.expands,
        resolutions=tuple(sorted(config.resolutions)) or space.resolutions,
        classes=config.classes or classes or space.classes,
    )
