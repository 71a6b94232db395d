"""The DεpS schedule as data: `schedule.at(step)` answers everything that the trainer asks about a step.

Phases (DεpS, ECCV 2024, §3; METHOD §2): the full model alone; the ε ramp, which ends at T_fw; the supernet. Every
ablation is a value of the configuration, not a branch of the training loop.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

import torch
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from data_shards.randomness import Purpose
from pipeline.duration import Duration, to_steps
from pipeline.errors import UsageError
from pipeline.methods.draws import step_bits
from pipeline.methods.learning_rate import LearningRateConfig, learning_rate
from pipeline.supernet.space import Space, Subnet

Role = Literal["full", "smallest", "random"]
PhaseName = Literal["full model", "ramp", "supernet"]


class ScheduleError(UsageError):
    """A schedule whose parts do not fit together."""


def _yaml_off(value: object) -> object:
    return "off" if value is False else value  # YAML reads a bare `off` as false


class ScheduleConfig(BaseModel):
    """The recipe's `schedule`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    duration: Duration = Field(description="of the run, in epochs or steps")
    learning_rate: LearningRateConfig
    full_model_warmup: Duration = Field(default="50%", description="T_fw: when shrinking is complete")
    epsilon_ramp: Duration = Field(
        default="5 epochs", description="w: the ramp, which ends at full_model_warmup; 0 off"
    )
    random_subnets: int = Field(default=2, ge=0, le=64)
    reorganise: bool = Field(default=True, description="sort channels by importance before the first subnet trains")
    distillation: Annotated[Literal["in_place", "off"], BeforeValidator(_yaml_off)] = "in_place"


@dataclass(frozen=True)
class Phase:
    """Steps [start, end) of the run, and the roles of the subnets that each of them trains."""

    name: PhaseName
    start: int
    end: int
    roles: tuple[Role, ...]


@dataclass(frozen=True)
class Slot:
    """One sub-step of a sandwich: a subnet, what it learns from, and the factor of its loss."""

    role: Role
    subnet: Subnet
    learns_from: Literal["labels", "full model"]
    scale: float


@dataclass(frozen=True)
class StepPlan:
    """All that the trainer needs to know about one optimizer step.

    Attributes:
        epsilon: factor of the subnets' gradients; 0 while the full model trains alone.
        resolution: side of the batch's images in pixels, which all slots share.
        reorganised: whether channels must have been sorted before this step.
    """

    step: int
    phase: PhaseName
    learning_rate: float
    epsilon: float
    resolution: int
    slots: tuple[Slot, ...]
    reorganised: bool


class Schedule:
    """Phases, rates, ε and subnets of a run.

    Args:
        steps_per_epoch: optimizer steps of one pass over the training data.
        seed: of the run; random subnets depend on (seed, step, index) alone.

    Raises:
        ScheduleError: where warm-up and ramp do not fit into the run, or in each other.
    """

    def __init__(self, config: ScheduleConfig, space: Space, steps_per_epoch: int, seed: int) -> None:
        self.config = config
        self.space = space
        self.seed = seed
        self.steps_per_epoch = steps_per_epoch
        self.steps = self._in_steps("duration", None)
        if self.steps < 1:
            raise ScheduleError(f"schedule.duration: '{config.duration}' is not even one step")
        self.shrunk = self._in_steps("full_model_warmup", self.steps)  # T_fw
        self.ramp = self._in_steps("epsilon_ramp", self.steps)  # w
        self._rate = learning_rate(config.learning_rate, steps_per_epoch, self.steps)
        self._check()
        self.shrink_start = self.shrunk - self.ramp
        random: tuple[Role, ...] = ("random",) * config.random_subnets
        sandwich: tuple[Role, ...] = ("full", "smallest", *random)
        bounds: list[tuple[PhaseName, int, int, tuple[Role, ...]]] = [
            ("full model", 0, self.shrink_start, ("full",)),
            ("ramp", self.shrink_start, self.shrunk, sandwich),
            ("supernet", self.shrunk, self.steps, sandwich),
        ]
        self.phases = tuple(Phase(*each) for each in bounds if each[1] < each[2])

    def _in_steps(self, key: str, total: int | None) -> int:
        try:
            return to_steps(getattr(self.config, key), self.steps_per_epoch, total)
        except UsageError as error:
            raise ScheduleError(f"schedule.{key}: {error}") from None

    def _check(self) -> None:
        if self.shrunk > self.steps:
            raise ScheduleError(
                f"schedule.full_model_warmup: '{self.config.full_model_warmup}' is {self.shrunk} steps, "
                f"the whole run has {self.steps}"
            )
        if self.ramp > self.shrunk:
            raise ScheduleError(
                f"schedule.epsilon_ramp: '{self.config.epsilon_ramp}' is {self.ramp} steps, and does not fit before "
                f"the end of full_model_warmup ({self.shrunk} steps), where the ramp ends; 0 leaves it out"
            )
        if self.ramp and self._rate(self.shrunk) <= 0:
            raise ScheduleError(
                f"schedule.full_model_warmup: '{self.config.full_model_warmup}' ends where the learning rate is zero, "
                "so that the subnets would learn nothing; let it end before the run does"
            )

    def at(self, step: int) -> StepPlan:
        """The plan of optimizer step 0 … steps − 1."""
        phase = self.phase(step)
        rate, epsilon, resolution = self._rate(step), self.epsilon(step), self.resolution(step)
        slots = tuple(self._slot(role, step, index, epsilon, resolution) for index, role in enumerate(phase.roles))
        reorganised = self.config.reorganise and step >= self.shrink_start
        return StepPlan(step, phase.name, rate, epsilon, resolution, slots, reorganised)

    def phase(self, step: int) -> Phase:
        for phase in self.phases:
            if phase.start <= step < phase.end:
                return phase
        raise IndexError(f"step {step} is outside the run's {self.steps} steps")

    def resolution(self, step: int) -> int:
        """Side of the images at `step`: drawn uniformly for the whole batch, of (seed, step) alone (OFA's rule)."""
        sides = self.space.resolutions
        return sides[step_bits(self.seed, step, Purpose.RESOLUTION) % len(sides)]

    def epsilon(self, step: int) -> float:
        """ε at `step`: ε·η(step) rises linearly from 0 to η(T_fw) over the ramp (DεpS, §3.2; METHOD §2.3)."""
        if step < self.shrink_start:
            return 0.0
        if step >= self.shrunk:
            return 1.0
        risen = (step - self.shrink_start + 1) / self.ramp
        return self._rate(self.shrunk) * risen / self._rate(step)

    def _slot(self, role: Role, step: int, index: int, epsilon: float, resolution: int) -> Slot:
        subnet = replace(self._subnet(role, step, index), resolution=resolution)
        if role == "full":
            return Slot(role, subnet, "labels", 1.0)
        learns_from = "full model" if self.config.distillation == "in_place" else "labels"
        return Slot(role, subnet, learns_from, epsilon)

    def _subnet(self, role: Role, step: int, index: int) -> Subnet:
        if role == "full":
            return self.space.largest()
        if role == "smallest":
            return self.space.smallest()
        return self.space.sample(torch.Generator().manual_seed(step_bits(self.seed, step, Purpose.SUBNET, index)))
