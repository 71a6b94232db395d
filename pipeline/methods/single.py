"""One network alone: the full model, or one subnet of it, from scratch or from weights.

It learns from labels; and, where it is fine-tuned, also from the full model that it was a part of.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipeline.methods.draws import Fixed
from pipeline.methods.entries import freeze_teacher
from pipeline.methods.learning_rate import learning_rate
from pipeline.methods.losses import LossConfig
from pipeline.methods.method import BaseMethodConfig
from pipeline.methods.phases import ALONE, Clock, Phase, ScheduleError, SlotRule
from pipeline.methods.sandwich import full_model
from pipeline.supernet.space import Space
from pipeline.supernet.subnet import Subnet, SubnetError


class SingleConfig(BaseMethodConfig, frozen=True):
    """One phase of one slot."""

    name: Literal["single"] = "single"
    subnet: str | None = Field(default=None, description="as text, such as d2-k3-e4-r32; the full model by default")
    kd_ratio: float = Field(
        default=0.0,
        ge=0,
        le=1e6,
        description="κ, factor of the loss by the soft labels of the full model of model.start, frozen",
    )

    def alone(self, space: Space) -> Subnet | None:
        if self.subnet is None:
            return None
        try:
            subnet = space.parse(self.subnet)
        except SubnetError as error:
            raise ScheduleError(f"schedule.subnet: {error}") from None
        return None if space.is_full(subnet) else subnet

    def phases(self, space: Space, clock: Clock, loss: LossConfig) -> tuple[Phase, ...]:
        """Raises ScheduleError where the subnet is none of the space, or no weights are there to be a teacher."""
        if self.kd_ratio and not clock.begins_trained:
            raise ScheduleError(
                "schedule.kd_ratio: the teacher is the full model that the run begins with: name its weights in "
                "model.start, or leave it 0"
            )
        rate = learning_rate(self.learning_rate, clock.steps_per_epoch, clock.total)
        learns = loss.of_labels_and_teacher(self.kd_ratio)
        subnet = self.alone(space)
        slot = full_model(space, learns) if subnet is None else SlotRule(ALONE, Fixed(subnet), learns)
        enter = (freeze_teacher,) if self.kd_ratio else ()
        return (Phase("training", 0, clock.total, (slot,), rate, enter),)
