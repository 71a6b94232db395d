"""How subnets between the largest and the smallest are found: uniformly, or the best or worst of candidates."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from pipeline.by_name import ByName
from pipeline.methods.draws import Predicted, Uniform
from pipeline.methods.losses import Loss
from pipeline.methods.phases import Pick, SlotRule
from pipeline.methods.prior import NearTarget
from pipeline.predictor.predictor import read_predictor
from pipeline.supernet.space import Space


class UniformConfig(BaseModel):
    """The recipe's `schedule.sampling` for subnets drawn uniformly."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Literal["uniform"] = "uniform"
    predictor: ClassVar[None] = None

    def slot(self, space: Space, labels: Loss, taught: Loss, scale: Callable[[int], float]) -> SlotRule:
        return SlotRule("random", Uniform(space), taught, scale)


class AttentiveConfig(BaseModel):
    """The recipe's `schedule.sampling` for AttentiveNAS's (Wang et al., CVPR 2021, §3).

    By a predictor's accuracy no candidate is computed, and a step costs no more than one of uniform sampling.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Literal["attentive"] = "attentive"
    pick: Literal["best", "worst"] = Field(default="best", description="BestUp or WorstUp")
    predictor: Path | None = Field(
        default=None, description="file of deps predictor, to pick by its accuracy; by default the loss on the batch"
    )
    candidates: int = Field(default=3, ge=1, le=64, description="that one is picked of, near one number of MACs")
    bin_macs: float | None = Field(
        default=None, gt=0, allow_inf_nan=False, description="width of a bin; by default a seventieth of the range"
    )
    table: int = Field(default=5000, ge=1, le=1_000_000, description="random subnets whose MACs make the prior")

    def slot(self, space: Space, labels: Loss, taught: Loss, scale: Callable[[int], float]) -> SlotRule:
        """Raises UsageError where the predictor's file is none of this space."""
        draw = NearTarget(space, self.bin_macs, self.table)
        if self.predictor is None:
            return SlotRule("attentive", draw, taught, scale, Pick(self.candidates, self.pick, labels))
        predictor = read_predictor(self.predictor, space, "schedule.sampling.predictor")
        predicted = Predicted(draw, self.candidates, self.pick, predictor.of)
        return SlotRule("attentive", predicted, taught, scale)


SamplingConfig = Annotated[UniformConfig | AttentiveConfig, ByName()]  # a method's `sampling`
