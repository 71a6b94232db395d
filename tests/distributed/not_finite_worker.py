"""Trains by each ENGINE three times, with and without a step of images that are NaN on the last process alone.

`not_finite_worker.py OUT ENGINE …`: rank 0 saves, for each, what the steps left.
"""

import sys
from pathlib import Path

import torch

from pipeline.engines import build_engine
from pipeline.processes.group import Processes, launched_processes
from pipeline.training.sandwich import sandwich_step
from tests.distributed.cells import BATCH, Cell, batch


def train(cell: Cell, processes: Processes, steps: tuple[int, ...], damaged: int | None = None) -> dict:
    """Weights and momentum after each of the `steps`, and the norms that they tell of."""
    engine = build_engine(cell.engine_config, cell.supernet(), cell.optimizer, processes, BATCH)
    weights, momentum, norms = [], [], []
    for step in steps:
        images, labels = (tensor.chunk(processes.world)[processes.rank] for tensor in batch(step))
        if step == damaged and processes.rank == processes.world - 1:
            images = images * float("nan")
        norms.append(float(sandwich_step(engine, cell.plans[step], images, labels).gradient_norm))
        state = engine.full_state()
        weights.append({name: state.weights[name] for name in state.momentum})  # without the statistics
        momentum.append(state.momentum)
    return {"weights": weights, "momentum": momentum, "norms": norms}


if __name__ == "__main__":
    with launched_processes() as launched:
        for name in sys.argv[2:]:
            # The clipped situation: the factor that clips is not finite either.
            trained = {
                "first": train(Cell(name, "clip"), launched, (0, 4), damaged=0),
                "later": train(Cell(name, "clip"), launched, (3, 1, 4), damaged=1),
                "spared": [train(Cell(name, "clip"), launched, steps) for steps in ((4,), (3, 4))],
                "at the start": dict(Cell(name, "clip").supernet().named_parameters()),
            }
            if launched.is_main:
                torch.save(trained, Path(sys.argv[1]) / name)
