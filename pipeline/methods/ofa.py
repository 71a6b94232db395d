"""OFA's progressive shrinking: a teacher, then ever more choices of kernel, depth and width (Cai et al., ICLR 2020)."""

from __future__ import annotations

from typing import Literal, NamedTuple

from pipeline.methods.entries import Entry, Reorganise
from pipeline.methods.losses import LossConfig
from pipeline.methods.phases import Clock, Phase, ScheduleError
from pipeline.methods.progressive import TEACHER, BaseProgressiveConfig, Part, Published
from pipeline.supernet.space import Space


class Widening(NamedTuple):
    """What a phase opens: of the choices `what`, the greatest `most`, or all."""

    what: Literal["kernels", "depths", "expands", "widths"]
    most: int | None


WIDENINGS = {
    "kernel": Widening("kernels", None),
    "depth 1": Widening("depths", 2),
    "depth 2": Widening("depths", None),
    "expand 1": Widening("expands", 2),
    "expand 2": Widening("expands", None),
    "width 1": Widening("widths", 2),
    "width 2": Widening("widths", None),
}
_LONG, _SHORT = 125, 25  # epochs
# Rates per GPU at batch 64, of which the teacher's is 0.08125. Widths were published without a schedule: as for expand.
PUBLISHED = {
    TEACHER: Published(180),
    "kernel": Published(_LONG, 3e-2 / 0.08125, 5 / _LONG, 1),
    "depth 1": Published(_SHORT, 2.5e-3 / 0.08125, 0, 2),
    "depth 2": Published(_LONG, 7.5e-3 / 0.08125, 5 / _LONG, 2),
    "expand 1": Published(_SHORT, 2.5e-3 / 0.08125, 0, 4),
    "expand 2": Published(_LONG, 7.5e-3 / 0.08125, 5 / _LONG, 4),
    "width 1": Published(_SHORT, 2.5e-3 / 0.08125, 0, 4),
    "width 2": Published(_LONG, 7.5e-3 / 0.08125, 5 / _LONG, 4),
}


class OfaConfig(BaseProgressiveConfig, frozen=True):
    """Each phase but the teacher's widens what subnets are drawn from; channels are sorted before they get fewer."""

    name: Literal["ofa"] = "ofa"

    def phases(self, space: Space, clock: Clock, loss: LossConfig) -> tuple[Phase, ...]:
        """Raises ScheduleError for a progression that makes no sense, or does not add up to the run."""
        names = [TEACHER, *(name for name, _, _ in _widened(space, list(WIDENINGS)))]
        chosen = {each.phase: each for each in self.chosen(PUBLISHED, names, clock.begins_trained)}
        widened = _widened(space, [name for name in chosen if name != TEACHER])
        for name in chosen:
            if name != TEACHER and name not in {each for each, _, _ in widened}:
                raise ScheduleError(f"schedule.progression: '{name}' opens no choice that is not open before it")
        teacher = [Part(chosen[TEACHER], None)] if TEACHER in chosen else []
        parts = [
            Part(chosen[name], opened, trained, self._sorts(space, name, trained)) for name, trained, opened in widened
        ]
        return self.built(space, clock, loss, PUBLISHED, [*teacher, *parts])

    def _sorts(self, space: Space, name: str, trained: Space) -> tuple[Entry, ...]:
        """Before subnets have fewer channels in a block: between those that are trained so far, all in the first."""
        fewer = WIDENINGS[name].what in ("expands", "widths")
        return (Reorganise(space, trained),) if self.reorganise and fewer else ()


def _widened(space: Space, names: list[str]) -> list[tuple[str, Space, Space]]:
    """Those of the phases that open something: name, what was open before, and what is open in it."""
    most: dict[str, int] = {widening.what: 1 for widening in WIDENINGS.values()}
    trained, found = space.narrowed(**most), []
    for name in names:
        widening = WIDENINGS[name]
        if widening.most is None:
            most.pop(widening.what, None)
        elif widening.what in most:
            most[widening.what] = max(most[widening.what], widening.most)
        if (opened := space.narrowed(**most)) != trained:
            found.append((name, trained, opened))
        trained = opened
    return found
