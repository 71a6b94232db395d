"""DεpS: the full model alone, then ε-shrinking, then the sandwich (ECCV 2024, §3). Ablations are recipe keys."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from pipeline.duration import Duration
from pipeline.methods.entries import Reorganise
from pipeline.methods.learning_rate import learning_rate
from pipeline.methods.losses import LossConfig
from pipeline.methods.method import BaseSandwichConfig
from pipeline.methods.phases import FULL, Clock, Phase, ScheduleError
from pipeline.methods.sandwich import sandwich
from pipeline.supernet.space import Space


def _yaml_off(value: object) -> object:
    return "off" if value is False else value  # YAML reads a bare `off` as false


class DepsConfig(BaseSandwichConfig, frozen=True):
    """Delayed ε-shrinking."""

    name: Literal["deps"] = "deps"
    full_model_warmup: Duration = Field(default="50%", description="T_fw: when shrinking is complete")
    epsilon_ramp: Duration = Field(
        default="5 epochs", description="w: the ramp, which ends at full_model_warmup; 0 off"
    )
    random_subnets: int = Field(default=2, ge=0, le=64)
    reorganise: bool = Field(default=True, description="sort channels by importance before the first subnet trains")
    distillation: Annotated[Literal["in_place", "off"], BeforeValidator(_yaml_off)] = "in_place"

    def phases(self, space: Space, clock: Clock, loss: LossConfig) -> tuple[Phase, ...]:
        """Full model in [0, T_fw − w), ramp in [T_fw − w, T_fw), supernet from T_fw on; those that last no step too.

        Raises:
            ScheduleError: where warm-up and ramp do not fit into the run, or in each other.
        """
        shrunk, ramp = (clock.steps(key, getattr(self, key)) for key in ("full_model_warmup", "epsilon_ramp"))
        rate = learning_rate(self.learning_rate, clock.steps_per_epoch, clock.total)
        self._check(clock.total, shrunk, ramp, rate(shrunk))
        shrinking = shrunk - ramp

        def epsilon(step: int) -> float:
            """ε·η(step) rises linearly from 0 to η(T_fw) over the ramp (§3.2)."""
            return 1.0 if step >= shrunk else rate(shrunk) * (step - shrinking + 1) / ramp / rate(step)

        taught = loss.of_network(FULL) if self.distillation == "in_place" else loss.of_labels()
        slots = sandwich(space, loss.of_labels(), taught, self.sampling, self.random_subnets, epsilon)
        entered = {
            "enter": (Reorganise(space),) if self.reorganise else (),
            "dip_steps": max(ramp, clock.steps_per_epoch),
        }
        first, second = (entered, {}) if ramp else ({}, entered)
        return (
            Phase("full model", 0, shrinking, slots[:1], rate),
            Phase("ramp", shrinking, shrunk, slots, rate, **first),
            Phase("supernet", shrunk, clock.total, slots, rate, **second),
        )

    def _check(self, total: int, shrunk: int, ramp: int, rate_when_shrunk: float) -> None:
        if shrunk > total:
            raise ScheduleError(
                f"schedule.full_model_warmup: '{self.full_model_warmup}' is {shrunk} steps, the whole run has {total}"
            )
        if ramp > shrunk:
            raise ScheduleError(
                f"schedule.epsilon_ramp: '{self.epsilon_ramp}' is {ramp} steps, and does not fit before "
                f"the end of full_model_warmup ({shrunk} steps), where the ramp ends; 0 leaves it out"
            )
        if ramp and rate_when_shrunk <= 0:
            raise ScheduleError(
                f"schedule.full_model_warmup: '{self.full_model_warmup}' ends where the learning rate is zero, "
                "so that the subnets would learn nothing; let it end before the run does"
            )
