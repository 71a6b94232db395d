"""What happens to the training state when a phase is entered: on the canonical state, so that every engine has it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from pipeline.engines.protocol import Engine, TrainingState
from pipeline.supernet.reorganise import channel_groups, channel_orders, reorganise
from pipeline.supernet.space import Space

Entry = Callable[[TrainingState], TrainingState]


def enter(engine: Engine, entries: Iterable[Entry]) -> None:
    """Do what a phase does on being entered. All processes must call it."""
    state = engine.full_state()
    for change in entries:
        state = change(state)
    engine.load_state(state)


@dataclass(frozen=True)
class Reorganise:
    """Channels sorted by importance, momentum with them: the full model trains on as if nothing had been.

    OFA (Cai et al., ICLR 2020, §3.3); METHOD §2.2.

    Attributes:
        trained: the restriction of `space` whose subnets train already, which keep their channels; None for the full
            model alone.
    """

    space: Space
    trained: Space | None = None

    def __call__(self, state: TrainingState) -> TrainingState:
        orders = channel_orders(state.weights, channel_groups(self.space, self.trained))
        return replace(state, weights=reorganise(state.weights, orders), momentum=reorganise(state.momentum, orders))


def freeze_teacher(state: TrainingState) -> TrainingState:
    """The weights of now become the teacher, which no later step changes (OFA, §3.3)."""
    return replace(state, teacher={name: tensor.clone() for name, tensor in state.weights.items()})
