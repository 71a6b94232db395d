"""What happens to the training state when a phase is entered: on the canonical state, so that every engine has it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from pipeline.engines.protocol import Engine, TrainingState
from pipeline.errors import UsageError
from pipeline.supernet.belonging import difference
from pipeline.supernet.blocks import BLOCKS
from pipeline.supernet.layer import BlockShape
from pipeline.supernet.reorganise import channel_groups, channel_orders, reorganise
from pipeline.supernet.shapes import parts
from pipeline.supernet.space import Space
from pipeline.supernet.store import load_weights

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

    OFA (Cai et al., ICLR 2020, §3.3).

    Attributes:
        trained: the restriction of `space` whose subnets train already, which keep their channels; None for the full
            model alone.
    """

    space: Space
    trained: Space | None = None

    def __call__(self, state: TrainingState) -> TrainingState:
        orders = channel_orders(state.weights, channel_groups(self.space, self.trained))
        return replace(state, weights=reorganise(state.weights, orders), momentum=reorganise(state.momentum, orders))


@dataclass(frozen=True)
class LoadWeights:
    """The weights and statistics of a supernet on disk, in place of the initial ones.

    Attributes:
        folder: with `supernet.safetensors` and `supernet.json`.
        new_classifier: keep the classifier, which may be of other classes.
    """

    folder: Path
    new_classifier: bool = False

    def __call__(self, state: TrainingState) -> TrainingState:
        return replace(state, weights=self.fitted(state.weights))

    def fitted(self, network: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The weights of the folder, by the names of `network`.

        The network's own are the classifier's where it is to be new, and kernel matrices where the folder has none:
        they begin as the identity, with which a smaller kernel is the larger one's centre, as it is without them.

        Raises:
            UsageError: where the folder has no supernet, or one that does not fit.
        """
        space, weights = load_weights(self.folder)
        classifier = f"{space.head[-1].name}."
        kept = {
            name: tensor
            for name, tensor in network.items()
            if (self.new_classifier and name.startswith(classifier))
            or (".transforms." in name and not any(".transforms." in other for other in weights))
        }
        if reason := difference(network, fitted := {**weights, **kept}):
            hint = "; model.start_classifier=new takes a new one" if reason.startswith(classifier) else ""
            raise UsageError(f"model.start: {self.folder} is not of the run's network: {reason}{hint}")
        return {name: fitted[name] for name in network}


def freeze_teacher(state: TrainingState) -> TrainingState:
    """The weights of now become the teacher, which no later step changes (OFA, §3.3)."""
    return replace(state, teacher={name: tensor.clone() for name, tensor in state.weights.items()})


def forget_momentum(state: TrainingState) -> TrainingState:
    """Momentum from zero, as of an optimizer that has just been made (OFA's phases begin so)."""
    return replace(state, momentum={name: torch.zeros_like(tensor) for name, tensor in state.momentum.items()})


@dataclass(frozen=True)
class StartAsShortcuts:
    """Blocks with a shortcut begin as that alone: the weight of their last batch norm is 0 (BigNAS, §3.2)."""

    space: Space

    def __call__(self, state: TrainingState) -> TrainingState:
        stem, stages, _ = parts(self.space, self.space.largest())
        blocks = [part for part in (*stem, *stages) if isinstance(part, BlockShape) and part.shortcut != "none"]
        names = [f"{BLOCKS[block.kind].last_norm(block)}.weight" for block in blocks]
        return replace(state, weights=state.weights | {name: torch.zeros_like(state.weights[name]) for name in names})
