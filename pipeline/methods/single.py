"""One network alone: the full model, or one subnet of it, learning from labels; from scratch or from weights."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipeline.methods.draws import Fixed
from pipeline.methods.learning_rate import learning_rate
from pipeline.methods.losses import LossConfig
from pipeline.methods.method import BaseMethodConfig
from pipeline.methods.phases import Clock, Phase, ScheduleError, SlotRule
from pipeline.methods.sandwich import full_model
from pipeline.supernet.space import Space
from pipeline.supernet.subnet import SubnetError


class SingleConfig(BaseMethodConfig, frozen=True):
    """One phase of one slot."""

    name: Literal["single"] = "single"
    subnet: str | None = Field(default=None, description="as text, such as d2-k3-e4-r32; the full model by default")

    def phases(self, space: Space, clock: Clock, loss: LossConfig) -> tuple[Phase, ...]:
        """Raises ScheduleError where the subnet is none of the space."""
        rate = learning_rate(self.learning_rate, clock.steps_per_epoch, clock.total)
        slot = full_model(space, loss.of_labels())
        if self.subnet is not None:
            try:
                subnet = space.parse(self.subnet)
            except SubnetError as error:
                raise ScheduleError(f"schedule.subnet: {error}") from None
            if not space.is_full(subnet):
                slot = SlotRule("subnet", Fixed(subnet), loss.of_labels())
        return (Phase("training", 0, clock.total, (slot,), rate),)
