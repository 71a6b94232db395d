"""OFA's ResNet50D (Cai et al., ICLR 2020): elastic depth, expand ratio and stage widths, and an elastic stem."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from pydantic import Field, model_validator

from pipeline.supernet.layer import round_channels
from pipeline.supernet.networks.config import NetworkConfig, check_choices
from pipeline.supernet.part import LayerSpace, StageSpace
from pipeline.supernet.space import Space


class ResNet50Config(NetworkConfig):
    """The recipe's `space` for ResNet50D.

    Every key but `network` defaults to the network's own value, listed in `RESNETS`.
    """

    network: Literal["resnet50", "resnet50_32px", "resnet50_digits"]
    depths: tuple[int, ...] = Field(default=(), description="blocks that a stage may have more than its fewest")
    expands: tuple[float, ...] = Field(default=(), description="middle channels per output channel")
    widths: tuple[float, ...] = Field(default=(), description="factors of the channels of stem and stages")

    @model_validator(mode="after")
    def _check(self) -> ResNet50Config:
        check_choices(self, depths=range(5))
        for name, most in (("expands", 1), ("widths", 4)):
            values = getattr(self, name)
            if not all(0 < value <= most for value in values) or len(set(values)) != len(values):
                raise ValueError(f"{name}: {list(values)} must be distinct numbers above 0, up to {most}")
        return self

    def space(self, classes: int | None = None) -> Space:
        own = RESNETS[self.network]
        return replace(
            own,
            classes=self.classes or classes or own.classes,
            **self.chosen(own, "depths", "expands", "widths", "resolutions"),
        ).space()


@dataclass(frozen=True)
class ResNet50:
    """A ResNet50D in a few numbers.

    Attributes:
        stem: channels of its output at factor 1; of its middle it has half of them.
        stem_stride: of its first convolution.
        pools: whether the stem ends in max pooling.
        stages: of each stage the channels at factor 1, the fewest blocks, and the first one's stride.
        depths: numbers of blocks that may come on top of the fewest, ascending.
        expands, widths: legal ratios of middle to output channels, and factors of the channels, ascending.
    """

    stem: int
    stem_stride: int
    pools: bool
    stages: tuple[tuple[int, int, int], ...]
    depths: tuple[int, ...]
    expands: tuple[float, ...]
    widths: tuple[float, ...]
    resolutions: tuple[int, ...]
    classes: int

    def space(self) -> Space:
        def scaled(channels: int) -> tuple[int, ...]:
            return tuple(round_channels(channels * factor) for factor in self.widths)

        middle = tuple(round_channels(channels // 2) for channels in scaled(self.stem))
        pool = [LayerSpace("max_pool", "max_pool", kernel=3, stride=2)] if self.pools else []
        return Space(
            stem=(
                LayerSpace("stem", "conv", middle, 3, self.stem_stride, "stem_bn", "relu"),
                StageSpace("residual_conv", (), (0, 1), (3,), (1,), 1, "relu"),
                LayerSpace("stem_out", "conv", scaled(self.stem), 3, 1, "stem_out_bn", "relu"),
                *pool,
            ),
            stages=tuple(
                StageSpace(
                    block="bottleneck",
                    widths=scaled(channels),
                    depths=tuple(fewest + more for more in self.depths),
                    kernels=(3,),
                    expands=self.expands,
                    stride=stride,
                    activation="relu",
                    shortcut="projected",
                )
                for channels, fewest, stride in self.stages
            ),
            head=(LayerSpace("pool", "pool"), LayerSpace("classifier", "linear", (self.classes,), bias=True)),
            resolutions=self.resolutions,
        )


_RESNET50 = ResNet50(
    stem=64,
    stem_stride=2,
    pools=True,
    stages=((256, 2, 1), (512, 2, 2), (1024, 4, 2), (2048, 2, 2)),
    depths=(0, 1, 2),
    expands=(0.2, 0.25, 0.35),
    widths=(0.65, 0.8, 1.0),
    resolutions=(224,),
    classes=1000,
)

RESNETS = {
    # OFA's supernet; it was trained at all sides from 128 to 224 by 4, which `resolutions` can say.
    "resnet50": _RESNET50,
    # For CIFAR: a stem that keeps the images' size.
    "resnet50_32px": replace(_RESNET50, stem_stride=1, pools=False, resolutions=(32,), classes=10),
    # For 32-px digits in minutes on two CPU cores.
    "resnet50_digits": replace(
        _RESNET50, stem=32, pools=False, stages=((64, 1, 1), (128, 1, 2)), depths=(0, 1), resolutions=(32,), classes=10
    ),
}
