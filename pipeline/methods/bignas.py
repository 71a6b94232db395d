"""BigNAS: the sandwich with in-place distillation from the first step on (Yu et al., ECCV 2020, §3)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipeline.methods.entries import StartAsShortcuts
from pipeline.methods.learning_rate import learning_rate
from pipeline.methods.losses import LossConfig
from pipeline.methods.method import BaseSandwichConfig
from pipeline.methods.phases import FULL, Clock, Phase, ScheduleError
from pipeline.methods.sandwich import sandwich
from pipeline.supernet.space import Space


class BigNasConfig(BaseSandwichConfig, frozen=True):
    """One phase. Its rate is `learning_rate: {decay: exponential}`, elastic resolution `space.resolutions`."""

    name: Literal["bignas"] = "bignas"
    random_subnets: int = Field(default=2, ge=0, le=64)
    start_as_shortcuts: bool = Field(
        default=True, description="residual blocks begin as their shortcuts: weight 0 in the last batch norm"
    )

    def phases(self, space: Space, clock: Clock, loss: LossConfig) -> tuple[Phase, ...]:
        """Raises ScheduleError where weights that the run begins with would be overwritten."""
        rate = learning_rate(self.learning_rate, clock.steps_per_epoch, clock.total)
        slots = sandwich(space, loss.of_labels(), loss.of_network(FULL), self.sampling, self.random_subnets)
        if clock.begins_trained and self.start_as_shortcuts:
            raise ScheduleError(
                "schedule.start_as_shortcuts: would set weights of model.start to zero; with those it must be false"
            )
        enter = (StartAsShortcuts(space),) if self.start_as_shortcuts else ()
        return (Phase("supernet", 0, clock.total, slots, rate, enter),)
