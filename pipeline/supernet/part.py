"""The parts that a space is made of: layers of the stem and head, and stages of blocks, with what each may be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from pipeline.supernet.dimension import What
from pipeline.supernet.layer import Activation, LayerKind, Shortcut
from pipeline.supernet.subnet import BlockChoice


@dataclass(frozen=True)
class LayerSpace:
    """A layer of the stem or of the head; see `Layer`.

    Attributes:
        widths: legal numbers of its outputs, ascending; one that is there twice is drawn twice as often. None where
            they follow from its inputs.
        expand: outputs per input where there are no widths.
        tells_width: whether subnets state the width even if only one is legal, as in part of a space with several.
    """

    name: str
    kind: LayerKind
    widths: tuple[int, ...] = ()
    kernel: int = 1
    stride: int = 1
    norm: str | None = None
    activation: Activation = "identity"
    bias: bool = False
    expand: int = 1
    tells_width: bool = False

    @property
    def choices(self) -> tuple[int, ...]:
        """What a subnet may choose."""
        return self.widths

    @property
    def is_chosen(self) -> bool:
        """Whether subnets state their choice."""
        return self.tells_width or len(self.choices) > 1

    def narrowed(self, most: Mapping[str, int]) -> LayerSpace:
        """See `Space.narrowed`."""
        count = most.get("widths", len(self.widths))
        return replace(self, tells_width=self.is_chosen, widths=self.widths[-count:])


@dataclass(frozen=True)
class StageSpace:
    """A stage: blocks of one kind, of which subnets use the leading ones.

    Attributes:
        block: kind of the blocks, by the name in `pipeline.supernet.blocks.BLOCKS`.
        widths, depths, kernels, expands: legal output channels, numbers of blocks, kernel sizes and expand ratios,
            ascending. Without widths, outputs are as many as inputs.
        stride: of the first block.
        squeeze_excite: whether the blocks have it.
        shortcut: `identity`: the input where it is as large as the output, else none; `projected`: in the first block
            the input, brought to the output's size as the kind of block has it, in the others the input; `none`: none.
        has_expand_conv: whether a convolution expands the channels; without one, the ratio is 1.
        has_transforms: whether learned matrices make the smaller kernels of the largest one's centre.
        starts_as_shortcut: whether the last batch norm of its blocks starts with weight 0, so that they begin as their
            shortcuts (Goyal et al., 2017, §5.1).
        per: whether kernel size and expand ratio are chosen for each block, or for all of a stage together.
        ties: the expand ratio that goes with each depth, which is no choice of its own then (CompOFA, Sahni et al.,
            ICLR 2021, §3.2).
        tells_width, tells_depth: whether subnets state the width, and in the stem the depth, even if only one is
            legal, as in part of a space with several.
    """

    block: str
    widths: tuple[int, ...]
    depths: tuple[int, ...]
    kernels: tuple[int, ...]
    expands: tuple[int | float, ...]
    stride: int
    activation: Activation
    squeeze_excite: bool = False
    shortcut: Shortcut = "identity"
    has_expand_conv: bool = True
    has_transforms: bool = True
    starts_as_shortcut: bool = False
    per: Literal["block", "stage"] = "block"
    ties: tuple[tuple[int, int | float], ...] = ()
    tells_width: bool = False
    tells_depth: bool = False

    @property
    def choices(self) -> tuple[int, ...]:
        """What a subnet may choose of it in the stem: its depth."""
        return self.depths

    @property
    def is_chosen(self) -> bool:
        """Whether subnets state their choice of it in the stem."""
        return self.tells_depth or len(self.choices) > 1

    def narrowed(self, most: Mapping[str, int]) -> StageSpace:
        """See `Space.narrowed`."""
        kept = {name: getattr(self, name)[-count:] for name, count in most.items()}
        return replace(self, tells_width=self.chooses_width, tells_depth=self.is_chosen, **kept)

    @property
    def chooses_width(self) -> bool:
        return self.tells_width or len(self.widths) > 1

    def choices_of(self, what: What) -> tuple[Any, ...]:
        return getattr(self, f"{what}s")

    def block_choices(self, position: int) -> list[BlockChoice]:
        """All that the block at `position`, counted from 0, can be."""
        tied = dict(self.ties)
        expands = {tied[depth] for depth in self.depths if depth > position} if tied else self.expands
        return [BlockChoice(kernel, expand) for kernel in self.kernels for expand in sorted(expands)]
