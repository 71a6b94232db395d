"""What happens to the training state when a phase is entered: on the canonical state, so that every engine has it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from pipeline.engines.protocol import TrainingState
from pipeline.supernet.reorganise import channel_orders
from pipeline.supernet.reorganise import reorganise as permute

Entry = Callable[[TrainingState], TrainingState]


def reorganise(state: TrainingState) -> TrainingState:
    """Channels sorted by importance, momentum with them: the full model trains on as if nothing had been.

    OFA (Cai et al., ICLR 2020, §3.3); METHOD §2.2.
    """
    orders = channel_orders(state.weights)
    return replace(state, weights=permute(state.weights, orders), momentum=permute(state.momentum, orders))


def freeze_teacher(state: TrainingState) -> TrainingState:
    """The weights of now become the teacher, which no later step changes (OFA, §3.3)."""
    return replace(state, teacher={name: tensor.clone() for name, tensor in state.weights.items()})
