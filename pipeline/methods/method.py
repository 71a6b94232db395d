"""What every method's configuration has, and what it gives: the phases of a run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

from pydantic import BaseModel, Field

from pipeline.duration import Duration
from pipeline.methods.learning_rate import LearningRateConfig
from pipeline.methods.losses import LossConfig
from pipeline.methods.phases import Clock, Phase
from pipeline.supernet.space import Space


class BaseMethodConfig(BaseModel, ABC, extra="forbid", frozen=True):
    """The recipe's `schedule`; each method's own configuration adds its keys, and gives its phases."""

    name: str
    duration: Duration = Field(description="of the run, in epochs or steps")
    learning_rate: LearningRateConfig
    weights: Path | None = Field(
        default=None, description="folder of a finished run of the same network, whose weights training begins with"
    )

    @abstractmethod
    def phases(self, space: Space, clock: Clock, loss: LossConfig) -> tuple[Phase, ...]:
        """The phases of a run over `space`, in order and without gaps; those that last no step may be among them.

        Args:
            loss: the recipe's, of which slots take theirs.

        Raises:
            ScheduleError: where they do not fit into the run, or into each other.
        """
