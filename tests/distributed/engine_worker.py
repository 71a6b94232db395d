"""Trains one cell of the matrix after another on its processes; rank 0 saves each outcome in the folder OUT.

`engine_worker.py OUT CELL …`
"""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import torch
from torch.distributed.tensor import DTensor
from torch.profiler import ProfilerActivity, profile

from pipeline.engines import build_engine
from pipeline.methods.entries import freeze_teacher
from pipeline.processes.group import Processes, launched_processes
from pipeline.training.sandwich import sandwich_step
from tests.distributed.cells import BATCH, Cell, batch


def train(cell: Cell, processes: Processes) -> dict:
    supernet = cell.supernet().to(processes.device)
    engine = build_engine(cell.engine_config, supernet, cell.optimizer, processes, BATCH)
    norms, collectives = [], []
    for step, plan in enumerate(cell.plans):
        if step == 3:  # the state must survive a round trip through the canonical form
            engine.load_state(engine.full_state())
        if step == cell.freezes_at:
            engine.load_state(freeze_teacher(engine.full_state()))
        images, labels = (tensor.chunk(processes.world)[processes.rank].to(processes.device) for tensor in batch(step))
        torch.manual_seed(cell.seed(step, processes.rank))
        counts = processes.is_main and step in cell.counted_steps
        with counted(collectives, len(plan.slots)) if counts else nullcontext():
            result = sandwich_step(engine, plan, images, labels)
        norms.append(float(result.gradient_norm))
    held = sum(local(parameter).numel() for parameter in engine.supernet.parameters())
    state, whole = engine.full_state(), engine.whole_supernet()
    evaluated = {name: tensor.cpu().clone() for name, tensor in whole.state_dict().items()}
    return {
        "weights": state.weights,
        "momentum": state.momentum,
        "norms": norms,
        "evaluated": evaluated,
        "held": held,  # elements of the weights on this process, between steps
        "collectives": collectives,
    }


def local(parameter: torch.Tensor) -> torch.Tensor:
    """What this process holds of a parameter; ZeRO-3's are empty while they are sharded."""
    return parameter.to_local() if isinstance(parameter, DTensor) else parameter


@contextmanager
def counted(collectives: list[dict[str, int]], subnets: int) -> Iterator[None]:
    """Append how often each collective of torch's is called inside."""
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        yield
    names = Counter(event.key.removeprefix("c10d::") for event in profiled.events() if "c10d::" in event.key)
    collectives.append({"subnets": subnets, **names})


if __name__ == "__main__":
    with launched_processes() as launched:
        for text in sys.argv[2:]:
            cell = Cell.parse(text)
            with cell.functions():
                trained = train(cell, launched)
            if launched.is_main:
                torch.save(trained, Path(sys.argv[1]) / cell.file)
