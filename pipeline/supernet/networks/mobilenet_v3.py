"""OFA's MobileNetV3 (Cai et al., ICLR 2020), its variants for small images, and the recipe's choice among them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from pydantic import Field

from pipeline.supernet.layer import round_channels
from pipeline.supernet.networks.config import BlockwiseConfig
from pipeline.supernet.part import LayerSpace, StageSpace
from pipeline.supernet.space import Space


class MobileNetV3Config(BlockwiseConfig):
    """The recipe's `space` for MobileNetV3.

    Every key but `network` defaults to the network's own value, listed in `MOBILENETS`.
    """

    network: Literal["mobilenet_v3", "mobilenet_v3_32px", "mobilenet_v3_digits"]
    width: float = Field(default=1.0, gt=0, le=4)

    def space(self, classes: int | None = None) -> Space:
        own = MOBILENETS[self.network]

        def scaled(channels: int) -> int:
            return round_channels(channels * self.width)

        return replace(
            own,
            stem=scaled(own.stem),
            first=scaled(own.first),
            stages=tuple(replace(stage, channels=scaled(stage.channels)) for stage in own.stages),
            last=(scaled(own.last[0]), scaled(own.last[1])),
            classes=self.classes or classes or own.classes,
            **self.chosen(own, "depths", "kernels", "expands", "resolutions"),
        ).space()


@dataclass(frozen=True)
class Stage:
    """An elastic stage: its output channels, the first block's stride, activation and squeeze-and-excite."""

    channels: int
    stride: int
    activation: Literal["relu", "h_swish"]
    squeeze_excite: bool


@dataclass(frozen=True)
class MobileNetV3:
    """A MobileNetV3 in a few numbers; what `supernet.json` held when there was no other network.

    Attributes:
        stem, first: channels of the stem convolution and of the fixed first block (kernel 3, expand ratio 1).
        stages: the elastic stages.
        last: channels of the final expand convolution and of the feature mix.
        depths, kernels, expands: legal choices of every stage, ascending.
        resolutions: sides that the input may have in training, pixels, ascending.
        classes: number of classes.
    """

    stem: int
    stem_stride: int
    first: int
    stages: tuple[Stage, ...]
    last: tuple[int, int]
    depths: tuple[int, ...]
    kernels: tuple[int, ...]
    expands: tuple[int, ...]
    resolutions: tuple[int, ...]
    classes: int

    def space(self) -> Space:
        expanded, mixed = self.last
        first = StageSpace("mbconv", (self.first,), (1,), (3,), (1,), 1, "relu", has_expand_conv=False)
        return Space(
            stem=(LayerSpace("stem", "conv", (self.stem,), 3, self.stem_stride, "stem_bn", "h_swish"), first),
            stages=tuple(
                StageSpace(
                    block="mbconv",
                    widths=(stage.channels,),
                    depths=self.depths,
                    kernels=self.kernels,
                    expands=self.expands,
                    stride=stage.stride,
                    activation=stage.activation,
                    squeeze_excite=stage.squeeze_excite,
                )
                for stage in self.stages
            ),
            head=(
                LayerSpace("final_expand", "conv", (expanded,), norm="final_bn", activation="h_swish"),
                LayerSpace("pool", "pool"),
                LayerSpace("feature_mix", "linear", (mixed,), activation="h_swish"),
                LayerSpace("classifier", "linear", (self.classes,), bias=True),
            ),
            resolutions=self.resolutions,
        )


_MOBILENET_V3 = MobileNetV3(
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


def _with_strides(network: MobileNetV3, strides: tuple[int, ...], **changes: Any) -> MobileNetV3:
    stages = tuple(replace(stage, stride=stride) for stage, stride in zip(network.stages, strides, strict=True))
    return replace(network, stages=stages, **changes)


MOBILENETS = {
    # OFA's, the space of the DεpS paper's main results.
    "mobilenet_v3": _MOBILENET_V3,
    # The DεpS paper's CIFAR variant: the same at 32 px.
    "mobilenet_v3_32px": _with_strides(_MOBILENET_V3, (1, 2, 2, 1, 2), stem_stride=1, resolutions=(32,), classes=10),
    # Two stages less deep into the pyramid, for the demo's 32-px digits in minutes on two CPU cores.
    "mobilenet_v3_digits": MobileNetV3(
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
