"""The code of today, as these tests call it: what moves or gets another form is followed here, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.engines.single import SingleEngine
from pipeline.forecast.dry_run import schedule_without_data
from pipeline.methods.entries import enter
from pipeline.methods.losses import LabelCrossEntropy
from pipeline.methods.schedule import Schedule
from pipeline.recipe.reading import load_recipe
from pipeline.supernet.complexity import complexity
from pipeline.supernet.networks import NETWORKS
from pipeline.supernet.space import Space
from pipeline.supernet.subnet import Subnet
from pipeline.supernet.supernet import Supernet
from pipeline.training.sandwich import sandwich_step
from tests.support.forked_program import REPOSITORY


def schedule(recipe: Path, overrides: Sequence[str]) -> Schedule:
    """The schedule of a recipe whose data set is not there."""
    return schedule_without_data(load_recipe(recipe, [*overrides, "data.shards=nowhere"]))


def phases(schedule: Schedule) -> list[list[Any]]:
    """Name, first step and end of each phase."""
    return [[phase.name, phase.start, phase.end] for phase in schedule.phases]


def plan(schedule: Schedule, step: int) -> dict[str, Any]:
    """All that is trained in a step, as JSON values; `sorted` tells whether channels are before it."""
    found = schedule.at(step)

    def learns_from(loss: object) -> str:
        return "labels" if isinstance(loss, LabelCrossEntropy) else "full model"

    return {
        "phase": found.phase,
        "learning_rate": found.learning_rate,
        "epsilon": found.epsilon,
        "resolution": found.resolution,
        "sorted": bool(schedule.entries(step)),
        "slots": [[slot.name, str(slot.subnet), learns_from(slot.loss), slot.scale] for slot in found.slots],
    }


def supernet(network: str) -> Supernet:
    """A network by its name, computed by plain PyTorch in float64, in evaluation mode; `space` is its own."""
    return Supernet(NETWORKS[network], kernels="reference").double().eval()


def size(space: Space, subnet: Subnet) -> tuple[int, int]:
    """MACs and parameters."""
    found = complexity(space, subnet)
    return found.macs, found.parameters


def five_steps_in_float64(
    overrides: Sequence[str], weights_for: Callable[[Mapping[str, Tensor]], dict[str, Tensor]]
) -> dict[str, Tensor]:
    """Weights and momentum of digits' network after five steps of its method, on made-up images.

    Args:
        weights_for: gives the initial weights for a network's names and shapes.
    """
    recipe = load_recipe(REPOSITORY / "recipes" / "digits.yaml", [*overrides, "data.shards=nowhere"])
    plans = schedule_without_data(recipe)
    supernet = Supernet(plans.space, recipe.model.dropout, kernels="reference").double()
    supernet.load_state_dict(weights_for(supernet.state_dict()))
    engine = SingleEngine(supernet, recipe.optimizer)
    entered = 0
    for step in range(5):
        plan = plans.at(step)
        for phase in plans.entries(step)[entered:]:
            enter(engine, phase.enter)
            entered += 1
        lot = np.random.default_rng(step)
        images = torch.from_numpy(lot.standard_normal((16, 3, plan.resolution, plan.resolution)))
        labels = torch.from_numpy(lot.integers(plans.space.classes, size=16))
        torch.manual_seed(step)
        sandwich_step(engine, plan, images, labels)
    state = engine.full_state()
    return {
        f"{part}/{name}": tensor for part in ("weights", "momentum") for name, tensor in getattr(state, part).items()
    }
