"""A method as a value: phases, in each of which every step trains the same slots. The training loop knows no method."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from pipeline.duration import to_steps
from pipeline.errors import UsageError
from pipeline.methods.draws import Draw
from pipeline.methods.entries import Entry
from pipeline.methods.losses import Loss
from pipeline.supernet.space import Space
from pipeline.supernet.subnet import Subnet

FULL = "full"  # the slot that trains the full model, which other slots may learn from
ALONE = "subnet"  # the slot of a run that trains one subnet and nothing else


class ScheduleError(UsageError):
    """A method whose phases do not fit together, or into the run."""


def unscaled(step: int) -> float:
    """The factor of a slot whose gradient counts as it is."""
    return 1.0


@dataclass(frozen=True)
class Pick:
    """One of several candidates, by their losses on the step's batch: AttentiveNAS's BestUp and WorstUp.

    Attributes:
        candidates: how many.
        which: with the least loss, or with the greatest.
        loss: by which they are compared.
    """

    candidates: int
    which: Literal["best", "worst"]
    loss: Loss

    def among(self, losses: Sequence[float]) -> int:
        """The place of the one that is picked; of equal ones the first."""
        return losses.index(min(losses) if self.which == "best" else max(losses))


@dataclass(frozen=True)
class SlotRule:
    """One sub-step of each of a phase's steps.

    Attributes:
        name: by which figures and reports know it; several slots of a phase may share one.
        draw: the subnet that it trains, of (seed, step, slot) alone.
        loss: what its subnet learns from.
        scale: factor of its loss at a step (DεpS's ε).
        pick: which of several draws it trains; None where it trains the one that is drawn.
        trained: of whose subnets the loss counts whole, whatever the step: they were trained in earlier phases.
    """

    name: str
    draw: Draw
    loss: Loss
    scale: Callable[[int], float] = unscaled
    pick: Pick | None = None
    trained: Space | None = None


@dataclass(frozen=True)
class Phase:
    """Steps [start, end) of the run.

    Attributes:
        slots: in the order in which they are trained; FULL comes first where others learn from it.
        rate: learning rate at a step.
        enter: what happens to the training state before the first of these steps, once in a run's life.
        dip_steps: for how many steps after its start the full model may lose accuracy, and is evaluated more often.
    """

    name: str
    start: int
    end: int
    slots: tuple[SlotRule, ...]
    rate: Callable[[int], float]
    enter: tuple[Entry, ...] = ()
    dip_steps: int = 0

    @property
    def slot_names(self) -> tuple[str, ...]:
        return tuple(slot.name for slot in self.slots)

    @property
    def trains_full(self) -> bool:
        """Whether each step trains the full model, so that its running statistics are those of its weights."""
        return FULL in self.slot_names


@dataclass(frozen=True)
class Slot:
    """One sub-step of one step: the subnet that is trained, what it learns from, and the factor of its loss.

    Attributes:
        candidates: of which `pick` takes the one that is trained; until then `subnet` is the first of them.
    """

    name: str
    subnet: Subnet
    loss: Loss
    scale: float
    candidates: tuple[Subnet, ...] = ()
    pick: Pick | None = None

    def picked(self, losses: Sequence[float]) -> Slot:
        """The slot with the candidate that these losses of theirs decide on."""
        assert self.pick is not None
        return replace(self, subnet=self.candidates[self.pick.among(losses)])


@dataclass(frozen=True)
class StepPlan:
    """All that the trainer needs to know about one optimizer step.

    Attributes:
        phase: its name.
        resolution: side of the batch's images in pixels, which all slots share; a network that resizes them brings
            each subnet's own about.
    """

    step: int
    phase: str
    learning_rate: float
    resolution: int
    slots: tuple[Slot, ...]

    @property
    def epsilon(self) -> float:
        """The least factor of the gradients of subnets below the full model; 0 where none is trained."""
        return min((slot.scale for slot in self.slots if slot.name != FULL), default=0.0)


@dataclass(frozen=True)
class Clock:
    """Turns a method's durations into steps, and tells what the run begins with.

    Attributes:
        steps_per_epoch: optimizer steps of one pass over the training data.
        total: steps of the run.
        begins_trained: whether the run begins with weights of another one (`model.start`).
    """

    steps_per_epoch: int
    total: int
    begins_trained: bool = False

    def steps(self, key: str, duration: str) -> int:
        """Raises ScheduleError for a duration that is no number of steps; `key` of the recipe's `schedule` is named."""
        return duration_in_steps(key, duration, self.steps_per_epoch, self.total)


def duration_in_steps(key: str, duration: str, steps_per_epoch: int, total: int | None) -> int:
    """Steps of a duration of the recipe's `schedule`; of `total` where it is a percentage.

    Raises:
        ScheduleError: naming the key.
    """
    try:
        return to_steps(duration, steps_per_epoch, total)
    except UsageError as error:
        raise ScheduleError(f"schedule.{key}: {error}") from None
