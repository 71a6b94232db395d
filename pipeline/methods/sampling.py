"""How subnets between the largest and the smallest are found: uniformly, or the best or worst of candidates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from pipeline.by_name import ByName
from pipeline.methods.draws import Uniform
from pipeline.methods.losses import Loss
from pipeline.methods.phases import Pick, SlotRule
from pipeline.methods.prior import NearTarget
from pipeline.supernet.space import Space


class UniformConfig(BaseModel):
    """The recipe's `schedule.sampling` for subnets drawn uniformly."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Literal["uniform"] = "uniform"

    def slot(self, space: Space, labels: Loss, taught: Loss, scale: Callable[[int], float]) -> SlotRule:
        return SlotRule("random", Uniform(space), taught, scale)


class AttentiveConfig(BaseModel):
    """The recipe's `schedule.sampling` for AttentiveNAS's (Wang et al., CVPR 2021, §3)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Literal["attentive"] = "attentive"
    pick: Literal["best", "worst"] = Field(default="best", description="BestUp or WorstUp, by the loss on the batch")
    candidates: int = Field(default=3, ge=1, le=64, description="that one is picked of, near one number of MACs")
    bin_macs: float | None = Field(
        default=None, gt=0, allow_inf_nan=False, description="width of a bin; by default a seventieth of the range"
    )
    table: int = Field(default=5000, ge=1, le=1_000_000, description="random subnets whose MACs make the prior")

    def slot(self, space: Space, labels: Loss, taught: Loss, scale: Callable[[int], float]) -> SlotRule:
        pick = Pick(self.candidates, self.pick, labels)
        return SlotRule("attentive", NearTarget(space, self.bin_macs, self.table), taught, scale, pick)


SamplingConfig = Annotated[UniformConfig | AttentiveConfig, ByName()]  # a method's `sampling`
