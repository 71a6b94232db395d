"""What may vary in a supernet: its parts, and the legal choices of each.

A subnet uses the leading blocks of each stage, the leading channels of each layer and the centre of each depthwise
kernel, so every subnet nests in the largest one.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch

from pipeline.supernet.dimension import Dimension, What
from pipeline.supernet.layer import strided
from pipeline.supernet.part import LayerSpace, StageSpace
from pipeline.supernet.subnet import BlockChoice, StageChoice, Subnet, SubnetError, read


@dataclass(frozen=True)
class Space:
    """The parts of a supernet in order of execution, and the choices that each leaves open.

    Attributes:
        stem: layers and stages before the elastic stages.
        stages: the elastic stages.
        head: layers behind them; the last one is the classifier.
        resolutions: sides that the input may have in training, pixels, ascending.
        epsilon: of all batch norms.
        loaded: side of the images that the network is given, where it resizes them itself, to the resolution that each
            subnet has for its own; None where they are loaded at the resolution, which all subnets of a step share.
    """

    stem: tuple[LayerSpace | StageSpace, ...]
    stages: tuple[StageSpace, ...]
    head: tuple[LayerSpace, ...]
    resolutions: tuple[int, ...]
    epsilon: float = 1e-5
    loaded: int | None = None

    @property
    def resolution(self) -> int:
        """The largest resolution: the full model's."""
        return self.resolutions[-1]

    @property
    def classes(self) -> int:
        return self.head[-1].widths[-1]

    @property
    def shares_stem(self) -> bool:
        """Whether the stem is the same in all subnets."""
        return self.loaded is None and not any(dimension.what == "stem" for dimension in self.dimensions())

    @property
    def final_side(self) -> int:
        """Side of the last feature map at the smallest resolution, in pixels."""
        side = self.resolutions[0]
        for part in (*self.stem, *self.stages):
            side = strided(side, part.stride)
        return side

    @property
    def image_sides(self) -> tuple[int, ...]:
        """Sides of the images that subnets are given, pixels, ascending."""
        return self.resolutions if self.loaded is None else (self.loaded,)

    def image_side(self, subnet: Subnet) -> int:
        """Side of the images that `subnet` is given, pixels."""
        return self.loaded or subnet.resolution

    def on_images(self, subnet: Subnet, side: int) -> Subnet:
        """What `subnet` is on images of this side: at this resolution, unless that is its own choice."""
        return replace(subnet, resolution=side) if self.loaded is None else subnet

    def dimensions(self) -> tuple[Dimension, ...]:
        """All choices, in the order in which they are drawn: a stage's depth before what is chosen for its blocks.

        Stem, head and widths are choices where there is more than one; depths, kernel sizes and expand ratios always,
        unless the ratio is tied to the depth.
        """
        return self._dimensions

    def assemble(self, chosen: Mapping[Dimension, Any]) -> Subnet:
        """The subnet that chooses so, and the largest value of what is not chosen; nothing is checked.

        What is chosen for blocks that are not active does not count.
        """
        values = {each.address: chosen.get(each, each.choices[-1]) for each in self._dimensions}

        def stage(index: int, space: StageSpace) -> StageChoice:
            depth, tied = values["depth", index, None], dict(space.ties)

            def block(position: int | None) -> BlockChoice:
                expand = tied[depth] if tied else values["expand", index, position]
                return BlockChoice(values["kernel", index, position], expand)

            places = range(depth) if space.per == "block" else [None] * depth
            return StageChoice(values.get(("width", index, None)), tuple(map(block, places)))

        return Subnet(
            stem=tuple(values[each.address] for each in self._dimensions if each.what == "stem"),
            stages=tuple(stage(index, space) for index, space in enumerate(self.stages)),
            head=tuple(values[each.address] for each in self._dimensions if each.what == "head"),
            resolution=values["resolution", None, None],
        )

    def choices(self, subnet: Subnet) -> dict[Dimension, Any]:
        """What `subnet` chooses in each dimension that it comes to; the inverse of `assemble`."""
        return {each: value for each in self._dimensions if (value := each.of(subnet)) is not None}

    def uniform(
        self,
        depth: int | None = None,
        kernel: int | None = None,
        expand: float | None = None,
        resolution: int | None = None,
    ) -> Subnet:
        """The subnet with the same depth in every stage, and the same kernel and expand ratio in every block.

        None stands for the largest value. A stage that leaves no choice keeps its own.

        Raises:
            SubnetError: where a value is not one of this space's choices.
        """
        asked = {"depth": depth, "kernel": kernel, "expand": expand, "resolution": resolution}
        chosen = {each: value for each in self._dimensions if (value := asked.get(each.what)) is not None}
        for each, value in chosen.items():
            if each.stage is not None:
                chosen[each] = self._in_one(each.what, self.stages[each.stage], value)
            each.check(chosen[each])
        return self.assemble(chosen)

    def largest(self) -> Subnet:
        """The full model."""
        return self._largest

    def smallest(self) -> Subnet:
        return self.assemble({each: each.choices[0] for each in self._dimensions})

    def is_full(self, subnet: Subnet) -> bool:
        """Whether `subnet` is the full model, at whatever resolution unless that is its own choice."""
        full = self._largest
        if self.loaded is not None and subnet.resolution != full.resolution:
            return False
        return (subnet.stem, subnet.stages, subnet.head) == (full.stem, full.stages, full.head)

    def sample(self, generator: torch.Generator) -> Subnet:
        """A subnet with every choice drawn independently and uniformly.

        The resolution is a choice of it where the network resizes; else it is the largest, which the step replaces.
        """
        chosen: dict[Dimension, Any] = {}
        depths: dict[int | None, int] = {}
        for each in self._dimensions:
            if each.what == "resolution" and self.loaded is None:
                continue
            if each.block is not None and each.block >= depths[each.stage]:
                continue
            chosen[each] = each.choices[int(torch.randint(len(each.choices), (), generator=generator))]
            if each.what == "depth":
                depths[each.stage] = chosen[each]
        return self.assemble(chosen)

    def restricted(self, **allowed: Collection[float]) -> Space:
        """This space with only those of its choices that are allowed; a stage that leaves no choice keeps its own.

        Its subnets are subnets of this space as well.

        Args:
            allowed: legal values of `widths`, `depths`, `kernels`, `expands` (in all stages) and `resolutions`.

        Raises:
            SubnetError: where nothing of what a stage may choose is left.
        """

        def left(name: str, choices: tuple[Any, ...]) -> tuple[Any, ...]:
            values = allowed.get(name, choices)
            if kept := tuple(choice for choice in choices if choice in values):
                return kept
            if len(choices) > 1:
                raise SubnetError(f"{name}: none of {list(values)} is one of {list(choices)}")
            return choices

        names = ("widths", "depths", "kernels", "expands")
        stages = tuple(
            replace(
                stage,
                tells_width=stage.chooses_width,  # as subnets of the whole space do
                **{name: left(name, getattr(stage, name)) for name in names},
            )
            for stage in self.stages
        )
        return replace(self, stages=stages, resolutions=left("resolutions", self.resolutions))

    def narrowed(self, **most: int) -> Space:
        """This space with the greatest of its choices alone: subnets of it near the full model.

        Its subnets are subnets of this space as well; the full model is the same.

        Args:
            most: how many are left of `widths`, `depths`, `kernels` and `expands`, everywhere; all, where not named.
        """
        return replace(
            self,
            stem=tuple(part.narrowed(most) for part in self.stem),
            stages=tuple(stage.narrowed(most) for stage in self.stages),
            head=tuple(part.narrowed(most) for part in self.head),
        )

    def validate(self, subnet: Subnet) -> Subnet:
        """Return `subnet` if this space holds it.

        Raises:
            SubnetError: naming the value at fault and the legal ones.
        """
        if len(subnet.stages) != len(self.stages):
            raise SubnetError(f"subnet {subnet}: has {len(subnet.stages)} stages, not {len(self.stages)}")
        for each, value in (chosen := self.choices(subnet)).items():
            each.check(value)
        if (nearest := self.assemble(chosen)) != subnet:  # in what is no choice here: tied, or the same in all blocks
            raise SubnetError(f"subnet {subnet}: is none of this space, {nearest} is one")
        return subnet

    def holds(self, subnet: Subnet) -> bool:
        """Whether `subnet` is one of this space, at whatever resolution."""
        try:
            self.validate(subnet)
        except SubnetError:
            return False
        return True

    def parse(self, text: str) -> Subnet:
        """The subnet that `str(subnet)` wrote; a single value stands for all stages or blocks.

        Raises:
            SubnetError: where the text is malformed or this space does not hold the subnet.
        """
        written = read(text, f"{self.largest()} or d2.3.2.2.4-k35.777.…-e…-r224")

        def in_stages(name: str, values: Sequence[Any]) -> Sequence[Any]:
            if len(values) == len(self.stages):
                return values
            raise SubnetError(
                f"subnet {text.strip()}: {name} are needed for {len(self.stages)} stages, not {len(values)}"
            )

        def alike(what: What, value: Any) -> list[Any]:
            return [
                self._in_one(what, stage, value) if what != "width" or stage.chooses_width else 0
                for stage in self.stages
            ]

        depths = written.depths if len(written.depths) > 1 else alike("depth", *written.depths)
        for index, (stage, depth) in enumerate(zip(self.stages, in_stages("depths", depths), strict=True)):
            Dimension("depth", stage.depths, index).check(depth)  # before as many blocks are made

        def in_blocks(what: What, groups: Sequence[Sequence[Any]]) -> Sequence[Sequence[Any]]:
            if len(groups) == 1 and len(groups[0]) == 1:
                return [[value] * depth for value, depth in zip(alike(what, *groups[0]), depths, strict=True)]
            return in_stages(f"{what}s", groups)

        kernels, expands = in_blocks("kernel", written.kernels), in_blocks("expand", written.expands)
        widths = alike("width", *written.widths) if len(written.widths) == 1 else written.widths or alike("width", 0)
        stages = []
        for index, each in enumerate(zip(in_stages("widths", widths), depths, kernels, expands, strict=True)):
            width, depth, *of_blocks = each
            if any(len(values) != depth for values in of_blocks):
                raise SubnetError(f"stage {index + 1}: depth {depth} needs as many kernels and expand ratios")
            stages.append(
                StageChoice(width or None, tuple(itertools.starmap(BlockChoice, zip(*of_blocks, strict=True))))
            )
        return self.validate(Subnet(written.stem, tuple(stages), written.head, written.resolution))

    def pareto_row(self) -> list[tuple[str, Subnet]]:
        """Named subnets from smallest to full: uniform depth, and all else but kernels at matching rank.

        The largest kernel is kept, as in the published Pareto rows; the smallest subnet leads the row.
        """
        ranked = [each for each in self._dimensions if each.what != "kernel"]
        steps = max(len(each.choices) for each in ranked)

        def at(step: int, depth_step: int) -> Subnet:
            def value(each: Dimension) -> Any:
                rank = (depth_step if each.what == "depth" else step) * (len(each.choices) - 1)
                return each.choices[round(rank / max(steps - 1, 1))]

            return self.assemble({each: value(each) for each in ranked})

        row: list[tuple[str, Subnet]] = [("smallest", self.smallest())]
        seen = {self.smallest(), self.largest()}
        for step in range(steps):
            for subnet in (at(step, step), *([at(step, step + 1)] if step + 1 < steps else [])):
                if subnet not in seen:
                    seen.add(subnet)
                    row.append((str(subnet), subnet))
        row.append(("full", self.largest()))
        return row

    @cached_property
    def _dimensions(self) -> tuple[Dimension, ...]:
        stages = list(enumerate(self.stages))
        widths = (Dimension("width", stage.widths, index) for index, stage in stages if stage.chooses_width)
        depths = (Dimension("depth", stage.depths, index) for index, stage in stages)
        places = [
            (stage, index, block)
            for index, stage in stages
            for block in (range(stage.depths[-1]) if stage.per == "block" else [None])
        ]
        return (
            *_with_choices("stem", self.stem),
            *widths,
            *depths,
            *(Dimension("kernel", stage.kernels, index, block) for stage, index, block in places),
            *(Dimension("expand", stage.expands, index, block) for stage, index, block in places if not stage.ties),
            *_with_choices("head", self.head),
            Dimension("resolution", self.resolutions),
        )

    @cached_property
    def _largest(self) -> Subnet:
        return self.assemble({})

    def _in_one(self, what: What, stage: StageSpace, value: Any) -> Any:
        """What `value`, given for all stages, is in this one: a stage that leaves no choice keeps its own."""
        own, others = stage.choices_of(what), [each.choices_of(what) for each in self.stages]
        return own[0] if len(own) == 1 and any(value in choices for choices in others) else value


def _with_choices(what: What, parts: Sequence[LayerSpace | StageSpace]) -> Iterator[Dimension]:
    choices = (part.choices for part in parts if part.is_chosen)
    return (Dimension(what, each, place) for place, each in enumerate(choices))
