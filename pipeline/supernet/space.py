"""What may vary in a supernet, and what a subnet is: a small frozen value that its space validates.

A subnet uses the leading blocks of each stage, the leading channels of each block and the centre of each
depthwise kernel, so every subnet nests in the largest one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch

from data_shards.one_line import shown
from pipeline.errors import UsageError

MOST_SIDE = 4096  # of an input, pixels
_LONGEST = 200  # text of a subnet, characters


class SubnetError(UsageError):
    """A subnet that its space does not hold, or a text that names none."""


@dataclass(frozen=True)
class Subnet:
    """A choice of depth per stage, and of kernel size and expand ratio per *active* block.

    Attributes:
        depths: number of active blocks of each elastic stage.
        kernels: kernel size of each active block, one tuple per stage.
        expands: expand ratio of each active block, one tuple per stage.
        resolution: side of the square input, pixels.
    """

    depths: tuple[int, ...]
    kernels: tuple[tuple[int, ...], ...]
    expands: tuple[tuple[int, ...], ...]
    resolution: int

    def __str__(self) -> str:
        """`d4-k7-e6-r224` where a dimension is uniform, else `d2.3-k35.777-e66.346-r224`: a group per stage."""
        depths = str(self.depths[0]) if len(set(self.depths)) == 1 else ".".join(map(str, self.depths))
        return f"d{depths}-k{_groups(self.kernels)}-e{_groups(self.expands)}-r{self.resolution}"


def _groups(values: tuple[tuple[int, ...], ...]) -> str:
    flat = {value for stage in values for value in stage}
    return str(flat.pop()) if len(flat) == 1 else ".".join("".join(map(str, stage)) for stage in values)


@dataclass(frozen=True)
class Stage:
    """An elastic stage of the full network: its output channels, the first block's stride, activation and SE."""

    channels: int
    stride: int
    activation: Literal["relu", "h_swish"]
    squeeze_excite: bool


@dataclass(frozen=True)
class Space:
    """The fixed parts of a MobileNetV3 supernet and the choices of its elastic ones.

    Attributes:
        stem, first: channels of the stem convolution and of the fixed first block (kernel 3, expand ratio 1).
        stages: the elastic stages.
        last: channels of the final expand convolution and of the feature mix.
        depths, kernels, expands: legal choices, ascending.
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

    @property
    def resolution(self) -> int:
        """The largest resolution: the full model's."""
        return self.resolutions[-1]

    @property
    def final_side(self) -> int:
        """Side of the last feature map at the smallest resolution, in pixels."""
        side = self.resolutions[0]
        for stride in (self.stem_stride, *(stage.stride for stage in self.stages)):
            side = (side - 1) // stride + 1
        return side

    def uniform(self, depth: int, kernel: int, expand: int, resolution: int | None = None) -> Subnet:
        """The subnet with the same depth in every stage, and the same kernel and expand ratio in every block.

        Raises:
            SubnetError: where a value is not one of this space's choices.
        """
        return self.validate(
            Subnet(
                depths=(depth,) * len(self.stages),
                kernels=((kernel,) * depth,) * len(self.stages),
                expands=((expand,) * depth,) * len(self.stages),
                resolution=self.resolution if resolution is None else resolution,
            )
        )

    @cached_property
    def _largest(self) -> Subnet:
        return self.uniform(self.depths[-1], self.kernels[-1], self.expands[-1])

    def largest(self) -> Subnet:
        """The full model."""
        return self._largest

    def smallest(self) -> Subnet:
        return self.uniform(self.depths[0], self.kernels[0], self.expands[0], self.resolutions[0])

    def is_full(self, subnet: Subnet) -> bool:
        """Whether `subnet` is the full model, at whatever resolution."""
        full = self._largest
        return (subnet.depths, subnet.kernels, subnet.expands) == (full.depths, full.kernels, full.expands)

    def sample(self, generator: torch.Generator) -> Subnet:
        """A subnet with every depth, kernel and expand ratio drawn independently and uniformly, at full resolution."""

        def draw(choices: tuple[int, ...]) -> int:
            return choices[int(torch.randint(len(choices), (), generator=generator))]

        depths = tuple(draw(self.depths) for _ in self.stages)
        kernels = tuple(tuple(draw(self.kernels) for _ in range(depth)) for depth in depths)
        expands = tuple(tuple(draw(self.expands) for _ in range(depth)) for depth in depths)
        return Subnet(depths, kernels, expands, self.resolution)

    def validate(self, subnet: Subnet) -> Subnet:
        """Return `subnet` if this space holds it.

        Raises:
            SubnetError: naming the value at fault and the legal ones.
        """
        for name in ("depths", "kernels", "expands"):
            given = len(getattr(subnet, name))
            if given != len(self.stages):
                raise SubnetError(f"subnet {subnet}: {name} are needed for {len(self.stages)} stages, not {given}")
        self._check_depths(subnet.depths)
        for stage, (depth, kernels, expands) in enumerate(
            zip(subnet.depths, subnet.kernels, subnet.expands, strict=True), start=1
        ):
            if not len(kernels) == len(expands) == depth:
                raise SubnetError(f"stage {stage}: depth {depth} needs as many kernels and expand ratios")
            for kernel in kernels:
                if kernel not in self.kernels:
                    raise SubnetError(f"stage {stage}: kernel {kernel} is none of {list(self.kernels)}")
            for expand in expands:
                if expand not in self.expands:
                    raise SubnetError(f"stage {stage}: expand ratio {expand} is none of {list(self.expands)}")
        if not 1 <= subnet.resolution <= MOST_SIDE:
            raise SubnetError(f"resolution {subnet.resolution} is no number of pixels from 1 to {MOST_SIDE}")
        return subnet

    def _check_depths(self, depths: Sequence[int]) -> None:
        for stage, depth in enumerate(depths, start=1):
            if depth not in self.depths:
                raise SubnetError(f"stage {stage}: depth {depth} is none of {list(self.depths)}")

    def parse(self, text: str) -> Subnet:
        """The subnet that `str(subnet)` wrote; a single value stands for all stages or blocks.

        Raises:
            SubnetError: where the text is malformed or this space does not hold the subnet.
        """
        match = re.fullmatch(r"d([0-9.]+)-k([0-9.]+)-e([0-9.]+)-r([0-9]+)", text.strip())
        if not match or len(text) > _LONGEST:
            like = f"{self.largest()} or d2.3.2.2.4-k35.777.…-e…-r224"
            raise SubnetError(f"{shown(text)} is no subnet; one looks like {like}")
        depth_text, kernel_text, expand_text, resolution = match.groups()
        stages = len(self.stages)
        if any(not part for group in (depth_text, kernel_text, expand_text) for part in group.split(".")):
            raise SubnetError(f"'{text}' is no subnet: a group between dots is empty")
        depths = [int(part) for part in depth_text.split(".")]
        self._check_depths(depths)  # before as many blocks are made
        if len(depths) == 1:
            depths *= stages

        def blocks(group_text: str) -> tuple[tuple[int, ...], ...]:
            groups = group_text.split(".")
            if len(groups) == 1 and len(groups[0]) == 1:
                return tuple((int(groups[0]),) * depth for depth in depths)
            return tuple(tuple(int(digit) for digit in group) for group in groups)

        return self.validate(Subnet(tuple(depths), blocks(kernel_text), blocks(expand_text), int(resolution)))

    def pareto_row(self) -> list[tuple[str, Subnet]]:
        """Named subnets from smallest to full: uniform depth, expand ratio and resolution at matching rank.

        The largest kernel is kept, as in the published Pareto rows; the smallest subnet leads the row.
        """
        steps = max(len(self.depths), len(self.expands), len(self.resolutions))

        def at(choices: tuple[int, ...], step: int) -> int:
            return choices[round(step * (len(choices) - 1) / max(steps - 1, 1))]

        row: list[tuple[str, Subnet]] = [("smallest", self.smallest())]
        seen = {self.smallest(), self.largest()}
        for step in range(steps):
            for depth, expand in ((at(self.depths, step), at(self.expands, step)),) + (
                ((at(self.depths, step + 1), at(self.expands, step)),) if step + 1 < steps else ()
            ):
                subnet = self.uniform(depth, self.kernels[-1], expand, at(self.resolutions, step))
                if subnet not in seen:
                    seen.add(subnet)
                    row.append((str(subnet), subnet))
        row.append(("full", self.largest()))
        return row

    def blocks(self, subnet: Subnet) -> Iterator[BlockShape]:
        """The fixed first block and the active elastic blocks of `subnet`, in order of execution."""
        yield BlockShape(0, self.stem, self.stem, self.first, 3, 1, "relu", False)
        channels = self.first
        index = 1
        for stage, depth, kernels, expands in zip(
            self.stages, subnet.depths, subnet.kernels, subnet.expands, strict=True
        ):
            for position in range(depth):
                yield BlockShape(
                    index=index + position,
                    inputs=channels,
                    expanded=round_channels(channels * expands[position]),
                    outputs=stage.channels,
                    kernel=kernels[position],
                    stride=stage.stride if position == 0 else 1,
                    activation=stage.activation,
                    squeeze_excite=stage.squeeze_excite,
                )
                channels = stage.channels
            index += self.depths[-1]


@dataclass(frozen=True)
class BlockShape:
    """One MBConv block (inverted bottleneck) of a subnet; `index` counts the supernet's blocks, active or not."""

    index: int
    inputs: int
    expanded: int
    outputs: int
    kernel: int
    stride: int
    activation: Literal["relu", "h_swish"]
    squeeze_excite: bool

    @property
    def has_expand_conv(self) -> bool:
        return self.index > 0

    @property
    def has_residual(self) -> bool:
        return self.stride == 1 and self.inputs == self.outputs

    @property
    def reduced(self) -> int:
        """Channels between squeeze-and-excite's two layers: a quarter of the expanded ones."""
        return round_channels(self.expanded / 4)


def round_channels(channels: float, divisor: int = 8) -> int:
    """The nearest multiple of `divisor` that is not below 90 % of `channels` (MobileNet's rule)."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded if rounded >= 0.9 * channels else rounded + divisor
