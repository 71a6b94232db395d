"""Training in phases of their own length, rate and number of subnets, which a frozen full model teaches.

What OFA's progressive shrinking (Cai et al., ICLR 2020, §3.3) and CompOFA (Sahni et al., ICLR 2021, §3.3) share.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate, pairwise
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from pipeline.duration import Duration
from pipeline.methods.draws import Uniform
from pipeline.methods.entries import Entry, forget_momentum, freeze_teacher
from pipeline.methods.learning_rate import learning_rate
from pipeline.methods.losses import LossConfig
from pipeline.methods.method import BaseMethodConfig
from pipeline.methods.phases import Clock, Phase, ScheduleError, SlotRule, duration_in_steps
from pipeline.methods.sandwich import full_model
from pipeline.supernet.space import Space

TEACHER = "teacher"  # the phase that trains the full model alone


class Published(NamedTuple):
    """What a phase has where the recipe does not say.

    Attributes:
        epochs: of the published schedule; scaled to runs of another length.
        rate: greatest learning rate, over the teacher's.
        warmup: as a fraction of the phase.
        subnets: trained per step.
    """

    epochs: int
    rate: float = 1.0
    warmup: float = 0.0
    subnets: int = 0


class PhaseConfig(BaseModel):
    """One of the recipe's `schedule.progression`; a name alone stands for the phase with its defaults."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    phase: str
    duration: Duration | None = Field(
        default=None, description="by default its published part of what phases with a duration leave"
    )
    learning_rate: float | None = Field(
        default=None, gt=0, allow_inf_nan=False, description="by default its published part of learning_rate.base"
    )
    warmup: Duration | None = Field(default=None, description="epochs, steps, or per cent of the phase")
    subnets: int | None = Field(default=None, ge=1, le=64, description="drawn in each step")
    epsilon_ramp: Duration | None = Field(
        default=None, description="epochs, steps, or per cent of the phase; by default schedule.epsilon_ramp"
    )


def _by_name(value: object) -> object:
    return {"phase": value} if isinstance(value, str) else value


class BaseProgressiveConfig(BaseMethodConfig, frozen=True):
    """The keys of all such methods. `learning_rate` is the teacher's; in each phase it begins and decays anew."""

    progression: tuple[Annotated[PhaseConfig, BeforeValidator(_by_name)], ...] = Field(
        default=(), description="phases in order; by default all of the method's"
    )
    kd_ratio: float = Field(default=1.0, ge=0, le=1e6, description="κ, factor of the loss by the teacher's soft labels")
    reorganise: bool = Field(default=True, description="sort channels by importance")
    epsilon_ramp: Duration = Field(
        default="0 steps",
        description="over which the factor of subnets that a phase opens rises from 0 to 1; per cent are of the phase",
    )

    def chosen(
        self, names: Mapping[str, Published], legal: Sequence[str], begins_trained: bool
    ) -> tuple[PhaseConfig, ...]:
        """The phases of the recipe, checked; by default the `legal` ones, without one where the run has weights.

        Raises:
            ScheduleError: for one that is unknown, comes twice, or has no teacher.
        """
        own = [name for name in legal if not (name == TEACHER and begins_trained)]
        chosen = self.progression or tuple(PhaseConfig(phase=name) for name in own)
        for place, each in enumerate(chosen):
            if each.phase not in names:
                raise ScheduleError(f"schedule.progression: '{each.phase}' is none of {', '.join(names)}")
            if each.phase in {earlier.phase for earlier in chosen[:place]}:
                raise ScheduleError(f"schedule.progression: '{each.phase}' comes twice")
            if each.phase == TEACHER and place:
                raise ScheduleError(f"schedule.progression: '{TEACHER}' comes first, not after '{chosen[0].phase}'")
        if chosen[0].phase != TEACHER and self.kd_ratio and not begins_trained:
            raise ScheduleError(
                f"schedule.progression: '{chosen[0].phase}' has no teacher; begin with '{TEACHER}', name weights in "
                "model.start, or set schedule.kd_ratio to 0"
            )
        return chosen

    def built(
        self, space: Space, clock: Clock, loss: LossConfig, published: Mapping[str, Published], parts: Sequence[Part]
    ) -> tuple[Phase, ...]:
        """The phases of `parts`: momentum is forgotten on entering each, and the weights before the first are frozen.

        Raises:
            ScheduleError: where they do not add up to the run.
        """
        taught, phases = loss.of_labels_and_teacher(self.kd_ratio), []
        freezes = self.kd_ratio > 0
        steps = _laid_out([part.settings for part in parts], published, clock)
        for part, (start, end) in zip(parts, steps, strict=True):
            settings, own = part.settings, published[part.settings.phase]
            rate = self._rate(settings, own, start, end, clock)
            ramp = self._ramp(part, start, end, clock)
            if part.space is None:
                phases.append(Phase(settings.phase, start, end, (full_model(space, loss.of_labels()),), rate))
                continue
            slot = SlotRule("random", Uniform(part.space), taught)
            if ramp:
                slot = replace(slot, scale=_rising(start, ramp), trained=part.trained)
            enter = (*([freeze_teacher] if freezes else []), forget_momentum, *part.enter)
            slots = (slot,) * (settings.subnets or own.subnets)
            phases.append(Phase(settings.phase, start, end, slots, rate, enter))
            freezes = False
        return tuple(phases)

    def _ramp(self, part: Part, start: int, end: int, clock: Clock) -> int:
        """Steps of the ε ramp of what a phase opens; 0 where it opens nothing.

        Raises:
            ScheduleError: where the phase itself asks for a ramp and opens nothing, or is not longer than the ramp.
        """
        settings = part.settings
        own = self.epsilon_ramp if settings.epsilon_ramp is None else settings.epsilon_ramp
        ramp = duration_in_steps("epsilon_ramp", own, clock.steps_per_epoch, end - start)
        if part.space is None or part.space == part.trained:
            if ramp and settings.epsilon_ramp is not None:
                raise ScheduleError(
                    f"schedule.progression: '{settings.phase}' opens no subnets that a ramp could be of"
                )
            return 0
        if ramp >= end - start:
            raise ScheduleError(
                f"schedule.epsilon_ramp: '{own}' is {ramp} steps, and '{settings.phase}' lasts {end - start}; "
                "0 leaves the ramp out"
            )
        return ramp

    def _rate(
        self, settings: PhaseConfig, own: Published, start: int, end: int, clock: Clock
    ) -> Callable[[int], float]:
        """The learning rate of a phase at a step of the run."""
        base = self.learning_rate
        changes: dict[str, Any] = {"base": settings.learning_rate or own.rate * base.base}
        if settings.warmup is not None or settings.phase != TEACHER:
            changes["warmup"] = settings.warmup or f"{round(own.warmup * (end - start))} steps"
        within = learning_rate(base.model_copy(update=changes), clock.steps_per_epoch, end - start)
        return lambda step: within(step - start)


def _rising(start: int, steps: int) -> Callable[[int], float]:
    """ε(step): linear, from 0 before `start` to 1 behind as many steps. What DεpS does once, for each phase.

    DεpS's own (§3.2) makes ε·η rise linearly; here η may itself be warming up.
    """
    return lambda step: min((step - start + 1) / steps, 1.0)


class Part(NamedTuple):
    """A phase to be.

    Attributes:
        space: of whose subnets each step draws; None for the full model alone.
        trained: of whose subnets the phases before it are.
        enter: what happens on entering it, besides what happens on entering every phase.
    """

    settings: PhaseConfig
    space: Space | None
    trained: Space | None = None
    enter: tuple[Entry, ...] = ()


def _laid_out(chosen: Sequence[PhaseConfig], published: Mapping[str, Published], clock: Clock) -> list[tuple[int, int]]:
    """The steps [start, end) of each phase; the last one makes up for what rounding leaves."""
    given = [None if each.duration is None else clock.steps("progression", each.duration) for each in chosen]
    left = clock.total - sum(steps or 0 for steps in given)
    epochs = [published[each.phase].epochs for each in chosen]
    shared = sum(own for own, steps in zip(epochs, given, strict=True) if steps is None)
    lengths = [left * own / shared if steps is None else steps for own, steps in zip(epochs, given, strict=True)]
    ends = [round(end) for end in accumulate(lengths)]
    if abs(ends[-1] - clock.total) > len(chosen) or left < 0:
        total = sum(steps or 0 for steps in given)
        raise ScheduleError(f"schedule.progression: its durations are {total} steps, the whole run has {clock.total}")
    steps = list(pairwise([0, *ends[:-1], clock.total]))
    for each, (start, end) in zip(chosen, steps, strict=True):
        if start >= end:
            raise ScheduleError(f"schedule.progression: '{each.phase}' lasts no step; leave it out, or train longer")
    return steps
