"""Learning rates as functions of the optimizer step."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from pipeline.duration import Duration, to_steps


class LearningRateConfig(BaseModel):
    """The recipe's `schedule.learning_rate`.

    `base` is the rate for the whole global batch (published rates per GPU are multiplied by the number of GPUs).
    The warm-up multiplies the decay, which runs from the first step on; but for `cosine_after_warmup`, which decays
    over the steps behind the warm-up (OFA).
    Exponential decay multiplies by `decay_rate` every `decay_every`, continuously, and ends constant at
    `floor` × base (BigNAS, Yu et al., ECCV 2020, §3.2).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    base: float = Field(gt=0, allow_inf_nan=False)
    decay: Literal["cosine", "cosine_after_warmup", "exponential", "constant"] = "cosine"
    warmup: Duration = Field(default="0 steps", description="linear rise")
    warmup_from: float = Field(default=0, ge=0, lt=1, description="part of the rate at which it begins to rise")
    decay_rate: float = Field(default=0.97, gt=0, lt=1)
    decay_every: Duration = "2.4 epochs"
    floor: float = Field(default=0.05, gt=0, lt=1)


def learning_rate(config: LearningRateConfig, steps_per_epoch: int, total: int) -> Callable[[float], float]:
    """η(step): the rate at optimizer step 0 … total − 1 (and at `total`, where cosine reaches zero)."""
    warmup = to_steps(config.warmup, steps_per_epoch, total)
    period = max(to_steps(config.decay_every, steps_per_epoch, total), 1)

    def decayed(step: float) -> float:
        if config.decay == "cosine":
            return config.base * 0.5 * (1 + math.cos(math.pi * step / total))
        if config.decay == "cosine_after_warmup":
            done = max(step - warmup, 0) / max(total - warmup, 1)
            return config.base * 0.5 * (1 + math.cos(math.pi * done))
        if config.decay == "exponential":
            return config.base * max(config.decay_rate ** (step / period), config.floor)
        return config.base

    def rate(step: float) -> float:
        rise = min((step + 1) / warmup, 1.0) if warmup else 1.0
        if rise < 1:
            rise = config.warmup_from + rise * (1 - config.warmup_from)
        return rise * decayed(step)

    return rate
