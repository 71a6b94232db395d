"""OFA's Proxyless (Cai et al., ICLR 2019 and 2020): MobileNetV2's blocks with ReLU6, without squeeze-and-excite."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from pydantic import Field

from pipeline.supernet.layer import round_channels
from pipeline.supernet.networks.config import BlockwiseConfig
from pipeline.supernet.part import LayerSpace, StageSpace
from pipeline.supernet.space import Space


class ProxylessConfig(BlockwiseConfig):
    """The recipe's `space` for Proxyless.

    Every key but `network` defaults to the network's own value, listed in `PROXYLESS`. `width` scales the base widths,
    the last one too; published weights have 1.3.
    """

    network: Literal["proxyless", "proxyless_32px", "proxyless_digits"]
    width: float = Field(default=0.0, ge=0, le=4, description="0 takes the network's own")

    def space(self, classes: int | None = None) -> Space:
        own = PROXYLESS[self.network]
        return replace(
            own,
            width=self.width or own.width,
            classes=self.classes or classes or own.classes,
            **self.chosen(own, "depths", "kernels", "expands", "resolutions"),
        ).space()


@dataclass(frozen=True)
class Proxyless:
    """A Proxyless in a few numbers.

    Attributes:
        width: factor of all that follow.
        stem, first: channels of the stem convolution and of the fixed first block (kernel 3, expand ratio 1).
        stages: channels of each elastic stage and stride of its first block.
        last: channels of the last stage, which is always one block, and of the feature mix before pooling.
        depths, kernels, expands: legal choices of every stage, ascending.
    """

    width: float
    stem: int
    stem_stride: int
    first: int
    stages: tuple[tuple[int, int], ...]
    last: tuple[int, int]
    depths: tuple[int, ...]
    kernels: tuple[int, ...]
    expands: tuple[int, ...]
    resolutions: tuple[int, ...]
    classes: int

    def space(self) -> Space:
        def scaled(channels: int) -> tuple[int, ...]:
            return (round_channels(channels * self.width),)

        def stage(channels: int, stride: int, depths: tuple[int, ...]) -> StageSpace:
            return StageSpace("mbconv", scaled(channels), depths, self.kernels, self.expands, stride, "relu6")

        first = StageSpace(
            "mbconv", scaled(self.first), (1,), (3,), (1,), 1, "relu6", shortcut="none", has_expand_conv=False
        )
        final, mixed = self.last
        return Space(
            stem=(LayerSpace("stem", "conv", scaled(self.stem), 3, self.stem_stride, "stem_bn", "relu6"), first),
            stages=(
                *(stage(channels, stride, self.depths) for channels, stride in self.stages),
                replace(stage(final, 1, (1,)), shortcut="none"),
            ),
            head=(
                LayerSpace("feature_mix", "conv", scaled(mixed), norm="feature_mix_bn", activation="relu6"),
                LayerSpace("pool", "pool"),
                LayerSpace("classifier", "linear", (self.classes,), bias=True),
            ),
            resolutions=self.resolutions,
            epsilon=1e-3,
        )


_PROXYLESS = Proxyless(
    width=1.3,
    stem=32,
    stem_stride=2,
    first=16,
    stages=((24, 2), (40, 2), (80, 2), (96, 1), (192, 2)),
    last=(320, 1280),
    depths=(2, 3, 4),
    kernels=(3, 5, 7),
    expands=(3, 4, 6),
    resolutions=(224,),
    classes=1000,
)

PROXYLESS = {
    # OFA's supernet; it was trained at all sides from 128 to 224 by 4, which `resolutions` can say.
    "proxyless": _PROXYLESS,
    # For CIFAR: as deep into the pyramid as MobileNetV3's variant.
    "proxyless_32px": replace(
        _PROXYLESS,
        stem_stride=1,
        stages=((24, 1), (40, 2), (80, 2), (96, 1), (192, 2)),
        resolutions=(32,),
        classes=10,
    ),
    # For 32-px digits in minutes on two CPU cores.
    "proxyless_digits": replace(
        _PROXYLESS,
        width=1.0,
        stem=16,
        stages=((24, 2), (40, 2)),
        last=(64, 160),
        depths=(1, 2),
        kernels=(3, 5),
        resolutions=(32,),
        classes=10,
    ),
}
