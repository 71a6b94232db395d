"""The recipe's `evaluation`."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from pipeline.duration import Duration


class EvaluationConfig(BaseModel):
    """When and on what subnets are evaluated.

    Attributes:
        every: between evaluations of the full model and the smallest subnet on held-out data.
        full_when_shrinking: between extra evaluations of the full model during the ramp, and at least the first epoch,
            after shrinking begins, where its accuracy may dip; 0 for none.
        recalibration_samples: training images that a subnet's batch-norm statistics are recomputed from.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    every: Duration = "1 epochs"
    full_when_shrinking: Duration = "0 steps"
    batch_size: int = Field(default=250, gt=0)
    recalibration_samples: int = Field(default=2000, gt=0)
