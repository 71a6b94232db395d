"""CompOFA: depths and expand ratios in pairs, kernels fixed: few subnets, all at once (Sahni et al., ICLR 2021)."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from pydantic import Field

from pipeline.methods.entries import Reorganise
from pipeline.methods.losses import LossConfig
from pipeline.methods.phases import Clock, Phase, ScheduleError
from pipeline.methods.progressive import TEACHER, BaseProgressiveConfig, Part, Published
from pipeline.supernet.space import Space

# Rates per GPU at batch 256.
PUBLISHED = {
    TEACHER: Published(180),
    "compound 1": Published(25, 0.01 / 0.325, 0, 4),
    "compound 2": Published(125, 0.03 / 0.325, 5 / 125, 4),
}


class CompOfaConfig(BaseProgressiveConfig, frozen=True):
    """A teacher, then two phases over the same subnets; channels are sorted before the first of them."""

    name: Literal["compofa"] = "compofa"
    kernels: tuple[int, ...] = Field(
        default=(), description="kernel size of each stage, or one of all; by default the largest"
    )
    sort_again: bool = Field(
        default=False, description="sort before the second phase too, as published, which breaks what the first trained"
    )

    def phases(self, space: Space, clock: Clock, loss: LossConfig) -> tuple[Phase, ...]:
        """Raises ScheduleError where depths and expand ratios do not pair, or phases do not add up to the run."""
        compound = compound_space(space, self.kernels)
        sort, parts, shrunk = (Reorganise(space),), [], False
        for settings in self.chosen(PUBLISHED, list(PUBLISHED), clock.begins_trained):
            if settings.phase == TEACHER:
                parts.append(Part(settings, None))
                continue
            sorts = self.reorganise and (self.sort_again or not shrunk)
            trained = compound if shrunk else space.narrowed(widths=1, depths=1, kernels=1, expands=1)
            parts.append(Part(settings, compound, trained, sort if sorts else ()))
            shrunk = True
        return self.built(space, clock, loss, PUBLISHED, parts)


def compound_space(space: Space, kernels: tuple[int, ...] = ()) -> Space:
    """Those subnets of `space` in which each stage's expand ratio has the rank of its depth, and its kernel is fixed.

    Where a stage has one depth alone, its ratio is the largest.

    Args:
        kernels: of each stage; one for all; none for the largest.

    Raises:
        ScheduleError: where a stage has no such kernel, or other numbers of depths and ratios.
    """
    stages = space.stages
    sizes = kernels * len(stages) if len(kernels) == 1 else kernels or tuple(stage.kernels[-1] for stage in stages)
    if len(sizes) != len(stages):
        raise ScheduleError(f"schedule.kernels: {list(kernels)} are needed for {len(stages)} stages, or one for all")
    compound = []
    for number, (stage, kernel) in enumerate(zip(stages, sizes, strict=True), start=1):
        if kernel not in stage.kernels:
            raise ScheduleError(f"schedule.kernels: {kernel} of stage {number} is none of {list(stage.kernels)}")
        ratios = stage.expands[-1:] if len(stage.depths) == 1 else stage.expands
        ratios = ratios * len(stage.depths) if len(ratios) == 1 else ratios
        if len(stage.depths) != len(ratios):
            raise ScheduleError(
                f"schedule.name: compofa pairs depths and expand ratios; stage {number} has depths "
                f"{list(stage.depths)} and ratios {list(stage.expands)}"
            )
        ties = tuple(zip(stage.depths, ratios, strict=True))
        compound.append(replace(stage, kernels=(kernel,), ties=ties))
    return replace(space, stages=tuple(compound))
