"""A subnet: the value of all choices that a space leaves open, and its text.

The text has a group for each kind of choice and in it, between dots, a part for each stage:
`d2.3-k35.777-e66.346-r224` (depths, kernel sizes, expand ratios, resolution), and where the space leaves them open also
`s` (stem), `w` (widths) and `h` (head): `d2-k3-e0p25_0p35.0p2_0p2-s24.40-w168.336-r128`. Values of one digit follow
each other; others are joined by `_`, with `p` for the decimal point. Where all values of a group are equal, it is
written once: `d4-k7-e6-r224`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from data_shards.one_line import shown
from pipeline.errors import UsageError

_LONGEST = 400  # text of a subnet, characters
_STAGES, _BLOCKS = r"([0-9]+(?:\.[0-9]+)*)", r"([0-9p_.]+)"
_TEXT = re.compile(f"d([0-9.]+)-k{_BLOCKS}-e{_BLOCKS}(?:-s{_STAGES})?(?:-w{_STAGES})?(?:-h{_STAGES})?-r([0-9]+)")
_VALUES = re.compile(r"[0-9]+(?:p[0-9]+)?(?:_[0-9]+(?:p[0-9]+)?)*_?")


class SubnetError(UsageError):
    """A subnet that its space does not hold, or a text that names none."""


class BlockChoice(NamedTuple):
    """Of one active block: kernel size, pixels, and the ratio of its inner channels to its inputs or outputs."""

    kernel: int
    expand: float


class StageChoice(NamedTuple):
    """Of one stage: its output channels, None where the space has one number of them, and its active blocks."""

    width: int | None
    blocks: tuple[BlockChoice, ...]


@dataclass(frozen=True)
class Subnet:
    """What a subnet chooses of its space; the depth of a stage is its number of blocks.

    Attributes:
        stem, head: numbers of channels (or depths) of the layers there that have a choice, in order of execution.
        resolution: side of the square input, pixels.
    """

    stem: tuple[int, ...]
    stages: tuple[StageChoice, ...]
    head: tuple[int, ...]
    resolution: int

    @property
    def depths(self) -> tuple[int, ...]:
        return tuple(len(stage.blocks) for stage in self.stages)

    @property
    def kernels(self) -> tuple[tuple[int, ...], ...]:
        """Kernel size of each active block, one tuple per stage."""
        return tuple(tuple(block.kernel for block in stage.blocks) for stage in self.stages)

    @property
    def expands(self) -> tuple[tuple[float, ...], ...]:
        """Expand ratio of each active block, one tuple per stage."""
        return tuple(tuple(block.expand for block in stage.blocks) for stage in self.stages)

    @property
    def widths(self) -> tuple[int | None, ...]:
        return tuple(stage.width for stage in self.stages)

    def __str__(self) -> str:
        """As the module tells; `Space.parse` is the inverse."""
        parts = [f"d{_stages(self.depths)}", f"k{_blocks(self.kernels)}", f"e{_blocks(self.expands)}"]
        parts += [f"s{'.'.join(map(str, self.stem))}"] if self.stem else []
        parts += [f"w{_stages([width or 0 for width in self.widths])}"] if any(self.widths) else []
        parts += [f"h{'.'.join(map(str, self.head))}"] if self.head else []
        return "-".join([*parts, f"r{self.resolution}"])


class Written(NamedTuple):
    """What a text says: values of each group, a single one standing for all stages, or for all blocks of all stages."""

    depths: tuple[int, ...]
    kernels: tuple[tuple[float, ...], ...]
    expands: tuple[tuple[float, ...], ...]
    stem: tuple[int, ...]
    widths: tuple[int, ...]
    head: tuple[int, ...]
    resolution: int


def read(text: str, example: str) -> Written:
    """What `text` says, whatever the space.

    Args:
        example: of a text, for the message.

    Raises:
        SubnetError: where the text is malformed.
    """
    match = _TEXT.fullmatch(text.strip())
    if not match or len(text) > _LONGEST:
        raise SubnetError(f"{shown(text)} is no subnet; one looks like {example}")
    depths, kernels, expands, stem, widths, head, resolution = match.groups()
    if any(not part for group in (depths, kernels, expands) for part in group.split(".")):
        raise SubnetError(f"'{text}' is no subnet: a group between dots is empty")
    if bad := [part for group in (kernels, expands) for part in group.split(".") if not _VALUES.fullmatch(part)]:
        raise SubnetError(f"'{text}' is no subnet: {bad[0]} are no values")
    return Written(
        _numbers(depths), _values(kernels), _values(expands), _numbers(stem), _numbers(widths), _numbers(head),
        int(resolution),
    )  # fmt: skip


def _stages(values: Sequence[int]) -> str:
    return str(values[0]) if len(set(values)) == 1 else ".".join(map(str, values))


def _blocks(values: Sequence[Sequence[float]]) -> str:
    flat = {value for stage in values for value in stage}
    return _part([flat.pop()]) if len(flat) == 1 else ".".join(map(_part, values))


def _part(values: Sequence[float]) -> str:
    texts = [str(int(value)) if value == int(value) else str(value).replace(".", "p") for value in values]
    if all(len(text) == 1 for text in texts):
        return "".join(texts)
    joined = "_".join(texts)
    return f"{joined}_" if joined.isdigit() else joined  # else 11 would be two blocks of 1


def _numbers(group: str | None) -> tuple[int, ...]:
    return tuple(int(part) for part in group.split(".")) if group else ()


def _values(group: str) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(map(_value, _split(part))) for part in group.split("."))


def _split(part: str) -> Sequence[str]:
    return part.removesuffix("_").split("_") if "_" in part or "p" in part else part


def _value(text: str) -> float:
    return float(text.replace("p", ".")) if "p" in text else int(text)
