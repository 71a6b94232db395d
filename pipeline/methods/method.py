"""What every method's configuration has, and what it gives: the phases of a run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

from pydantic import BaseModel, Field

from pipeline.duration import Duration
from pipeline.methods.learning_rate import LearningRateConfig
from pipeline.methods.losses import LossConfig
from pipeline.methods.phases import Clock, Phase
from pipeline.methods.sampling import SamplingConfig, UniformConfig
from pipeline.supernet.space import Space
from pipeline.supernet.subnet import Subnet


class BaseMethodConfig(BaseModel, ABC, extra="forbid", frozen=True):
    """The recipe's `schedule`; each method's own configuration adds its keys, and gives its phases."""

    name: str
    duration: Duration = Field(description="of the run, in epochs or steps")
    learning_rate: LearningRateConfig

    @property
    def predictor(self) -> Path | None:
        """The file of the predictor that subnets are picked by; None where none is."""
        return None

    def anchored(self) -> BaseMethodConfig:
        """The same with absolute paths."""
        return self

    def alone(self, space: Space) -> Subnet | None:
        """The subnet of `space` that is all a run trains and is measured by; None where more or the full model is.

        Raises:
            ScheduleError: where `space` has no such subnet.
        """
        return None

    @abstractmethod
    def phases(self, space: Space, clock: Clock, loss: LossConfig) -> tuple[Phase, ...]:
        """The phases of a run over `space`, in order and without gaps; those that last no step may be among them.

        Args:
            loss: the recipe's, of which slots take theirs.

        Raises:
            ScheduleError: where they do not fit into the run, or into each other.
        """


class BaseSandwichConfig(BaseMethodConfig, frozen=True):
    """What methods have whose steps train subnets between the largest and the smallest."""

    sampling: SamplingConfig = Field(default=UniformConfig(), description="how those are found")

    @property
    def predictor(self) -> Path | None:
        return self.sampling.predictor

    def anchored(self) -> BaseMethodConfig:
        if self.sampling.predictor is None:
            return self
        absolute = {"predictor": self.sampling.predictor.absolute()}
        return self.model_copy(update={"sampling": self.sampling.model_copy(update=absolute)})
