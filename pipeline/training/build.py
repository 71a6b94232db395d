"""The engine of a run, around a new supernet."""

from __future__ import annotations

import torch

from kernels.dispatch import KernelError
from pipeline.engines import build_engine
from pipeline.engines.protocol import Engine
from pipeline.errors import UsageError
from pipeline.methods.schedule import Schedule
from pipeline.processes.group import Processes
from pipeline.recipe.recipe import Recipe
from pipeline.supernet.graphs import capture
from pipeline.supernet.supernet import Supernet


def build(recipe: Recipe, schedule: Schedule, processes: Processes) -> Engine:
    """The engine around a new supernet, initialised by the recipe's seed: the same on all processes."""
    per_process, side = recipe.batch_size // processes.world, schedule.space.final_side
    if per_process * side * side < 2:
        raise UsageError(
            f"batch_size: {recipe.batch_size} over {processes.world} processes at {schedule.space.resolutions[0]} px "
            "leaves batch norm a single value; more images per process or a higher resolution are needed"
        )
    torch.manual_seed(recipe.seed)
    bf16 = {"fp32": False, "bf16": True, "auto": processes.device.type == "cuda"}[recipe.model.precision]
    model = recipe.model
    supernet = Supernet(
        schedule.space, model.dropout, bf16, recipe.kernels, model.activation_checkpointing, model.drop_connect
    )
    supernet.to(processes.device)
    try:
        supernet.operations(processes.device.type)
    except KernelError as error:
        raise UsageError(f"kernels: {error}") from None
    engine = build_engine(recipe.engine, supernet, recipe.optimizer, processes, recipe.batch_size)
    if recipe.model.cuda_graphs:  # after the engine, which may move the weights
        for side in reversed(schedule.space.image_sides):  # the one that needs most memory first
            images = torch.zeros(per_process, 3, side, side, device=processes.device)
            images = images.to(memory_format=torch.channels_last)
            extremes = (schedule.space.largest(), schedule.space.smallest())
            engine.graphs |= capture(supernet, (schedule.space.on_images(each, side) for each in extremes), images)
    return engine
