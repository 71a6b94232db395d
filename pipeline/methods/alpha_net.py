"""AlphaNet: the sandwich with the adaptive α-divergence (Wang et al., ICML 2021)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipeline.methods.learning_rate import learning_rate
from pipeline.methods.losses import AlphaDivergenceConfig, LossConfig
from pipeline.methods.method import BaseSandwichConfig
from pipeline.methods.phases import FULL, Clock, Phase
from pipeline.methods.sandwich import sandwich
from pipeline.supernet.space import Space


class AlphaNetConfig(BaseSandwichConfig, frozen=True):
    """One phase: the largest, some drawn uniformly, and the smallest, in this order.

    They learn from the full model by the α-divergence, unless `loss.soft` names another loss.
    """

    name: Literal["alpha_net"] = "alpha_net"
    random_subnets: int = Field(default=2, ge=0, le=64)

    def phases(self, space: Space, clock: Clock, loss: LossConfig) -> tuple[Phase, ...]:
        rate = learning_rate(self.learning_rate, clock.steps_per_epoch, clock.total)
        taught = loss.of_network(FULL, own=AlphaDivergenceConfig())
        full, smallest, *drawn = sandwich(space, loss.of_labels(), taught, self.sampling, self.random_subnets)
        return (Phase("supernet", 0, clock.total, (full, *drawn, smallest), rate),)
