"""The space of AttentiveNAS (Wang et al., CVPR 2021) and AlphaNet (Wang et al., ICML 2021): elastic in all widths.

One width, depth, kernel size and expand ratio per stage. The network resizes its images to each subnet's resolution.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from pipeline.supernet.networks.config import NetworkConfig
from pipeline.supernet.part import LayerSpace, StageSpace
from pipeline.supernet.space import Space


class AttentiveNasConfig(NetworkConfig):
    """The recipe's `space` for AttentiveNAS; both keys default to the network's own value, in `ATTENTIVE_NAS`."""

    network: Literal["attentive_nas", "attentive_nas_32px", "attentive_nas_digits"]

    def space(self, classes: int | None = None) -> Space:
        own = ATTENTIVE_NAS[self.network]
        classes = self.classes or classes or own.classes
        return replace(own, classes=classes, **self.chosen(own, "resolutions")).space()


class Stage(NamedTuple):
    """An elastic stage: legal widths, depths and expand ratios, the first block's stride, and squeeze-and-excite."""

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    expands: tuple[int, ...]
    stride: int
    squeeze_excite: bool


@dataclass(frozen=True)
class AttentiveNas:
    """A network of this space in a few numbers.

    Attributes:
        stem: widths of the stem convolution.
        stages: the first one expands nothing.
        last: widths of the feature mix, after pooling.
        loaded: side of the images that the network is given.
    """

    stem: tuple[int, ...]
    stem_stride: int
    stages: tuple[Stage, ...]
    last: tuple[int, ...]
    resolutions: tuple[int, ...]
    loaded: int
    classes: int

    def space(self) -> Space:
        return Space(
            stem=(LayerSpace("stem", "conv", self.stem, 3, self.stem_stride, "stem_bn", "swish"),),
            stages=tuple(
                StageSpace(
                    block="mbconv",
                    widths=stage.widths,
                    depths=stage.depths,
                    kernels=(3, 5),
                    expands=stage.expands,
                    stride=stage.stride,
                    activation="swish",
                    squeeze_excite=stage.squeeze_excite,
                    shortcut="projected",
                    has_expand_conv=index > 0,
                    has_transforms=False,
                    starts_as_shortcut=True,
                    per="stage",
                )
                for index, stage in enumerate(self.stages)
            ),
            head=(
                LayerSpace("final_expand", "conv", expand=6, norm="final_bn", activation="swish"),
                LayerSpace("pool", "pool"),
                LayerSpace("feature_mix", "linear", self.last, activation="swish"),
                LayerSpace("classifier", "linear", (self.classes,), bias=True),
            ),
            resolutions=self.resolutions,
            loaded=self.loaded,
        )


_ATTENTIVE_NAS = AttentiveNas(
    stem=(16, 24),
    stem_stride=2,
    stages=(
        Stage((16, 24), (1, 2), (1,), 1, False),
        Stage((24, 32), (3, 4, 5), (4, 5, 6), 2, False),
        Stage((32, 40), (3, 4, 5, 6), (4, 5, 6), 2, True),
        Stage((64, 72), (3, 4, 5, 6), (4, 5, 6), 2, False),
        Stage((112, 120, 128), (3, 4, 5, 6, 7, 8), (4, 5, 6), 1, True),
        Stage((192, 200, 208, 216), (3, 4, 5, 6, 7, 8), (6,), 2, True),
        Stage((216, 224), (1, 2), (6,), 1, True),
    ),
    last=(1792, 1984),
    resolutions=(192, 224, 256, 288),
    loaded=224,
    classes=1000,
)

_STRIDES_32PX = (1, 1, 2, 2, 1, 2, 1)

ATTENTIVE_NAS = {
    # The papers'.
    "attentive_nas": _ATTENTIVE_NAS,
    # For CIFAR: as deep into the pyramid as MobileNetV3's variant.
    "attentive_nas_32px": replace(
        _ATTENTIVE_NAS,
        stem_stride=1,
        stages=tuple(
            stage._replace(stride=stride) for stage, stride in zip(_ATTENTIVE_NAS.stages, _STRIDES_32PX, strict=True)
        ),
        resolutions=(24, 28, 32, 36),
        loaded=32,
        classes=10,
    ),
    # For 32-px digits in minutes on two CPU cores.
    "attentive_nas_digits": replace(
        _ATTENTIVE_NAS,
        stages=(
            Stage((16, 24), (1, 2), (1,), 1, False),
            Stage((24, 32), (1, 2), (4, 5, 6), 2, True),
            Stage((40, 48), (1, 2), (4, 5, 6), 2, True),
        ),
        last=(160, 192),
        resolutions=(24, 28, 32),
        loaded=32,
        classes=10,
    ),
}
