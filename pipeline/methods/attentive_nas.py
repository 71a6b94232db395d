"""AttentiveNAS: the sandwich whose subnets are the best or worst of some (Wang et al., CVPR 2021)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipeline.methods.learning_rate import learning_rate
from pipeline.methods.losses import LossConfig
from pipeline.methods.method import BaseSandwichConfig
from pipeline.methods.phases import FULL, Clock, Phase
from pipeline.methods.sampling import AttentiveConfig, SamplingConfig
from pipeline.methods.sandwich import sandwich
from pipeline.supernet.space import Space


class AttentiveNasConfig(BaseSandwichConfig, frozen=True):
    """One phase: the largest, the attentive ones, and the smallest, in this order, distilled in place."""

    name: Literal["attentive_nas"] = "attentive_nas"
    attentive_subnets: int = Field(default=2, ge=0, le=64)
    sampling: SamplingConfig = Field(default=AttentiveConfig(), description="how those are found")

    def phases(self, space: Space, clock: Clock, loss: LossConfig) -> tuple[Phase, ...]:
        rate = learning_rate(self.learning_rate, clock.steps_per_epoch, clock.total)
        taught = loss.of_network(FULL)
        full, smallest, *drawn = sandwich(space, loss.of_labels(), taught, self.sampling, self.attentive_subnets)
        return (Phase("supernet", 0, clock.total, (full, *drawn, smallest), rate),)
