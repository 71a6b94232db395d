"""Saves after three steps, or goes on from every checkpoint there is, under one engine after another.

`checkpoint_worker.py OUT save|resume ENGINE …`: OUT/WORLD-ENGINE/checkpoints are written, or all of them read;
OUT/resumed/WORLD-ENGINE.pt then holds what each of them came to, by its WORLD-ENGINE.
"""

import sys
from pathlib import Path

import torch

from pipeline.checkpoints.checkpoint import Checkpoint, Counters, load_newest_checkpoint, save_checkpoint
from pipeline.engines import build_engine
from pipeline.engines.protocol import Engine
from pipeline.methods.entries import freeze_teacher
from pipeline.processes.group import Processes, launched_processes
from pipeline.training.sandwich import sandwich_step
from tests.distributed.cells import BATCH, STEPS, Cell, batch

SAVED = 3  # steps
LEDGER = {"unit": "CPU process hours", "segments": [{"seconds": 1.5}]}


def steps(engine: Engine, cell: Cell, numbers: range, processes: Processes) -> None:
    for step in numbers:
        if step == cell.freezes_at:
            engine.load_state(freeze_teacher(engine.full_state()))
        images, labels = (tensor.chunk(processes.world)[processes.rank] for tensor in batch(step))
        sandwich_step(engine, cell.plans[step], images, labels)


def save(engine: Engine, cell: Cell, processes: Processes, out: Path) -> None:
    steps(engine, cell, range(SAVED), processes)
    state = engine.full_state()
    if processes.is_main:
        folder = out / f"{processes.world}-{cell.engine}"
        save_checkpoint(folder, Checkpoint(Counters(SAVED, 1), state, LEDGER), keep=1)


def resume(engine: Engine, cell: Cell, processes: Processes, out: Path) -> None:
    """One engine takes up all of them in turn: what it had before must leave no trace."""
    outcomes = {}
    for folder in sorted(out.glob("?-*")):
        checkpoint = load_newest_checkpoint(folder, warnings := [])
        assert checkpoint is not None
        assert (checkpoint.step, checkpoint.counters.entered, checkpoint.ledger, warnings) == (
            SAVED,
            1,
            LEDGER,
            [],
        )
        engine.load_state(checkpoint.state)
        steps(engine, cell, range(checkpoint.step, STEPS), processes)
        state = engine.full_state()
        outcomes[folder.name] = {"weights": state.weights, "momentum": state.momentum}
    if processes.is_main:
        (out / "resumed").mkdir(exist_ok=True)
        torch.save(outcomes, out / "resumed" / f"{processes.world}-{cell.engine}.pt")


if __name__ == "__main__":
    with launched_processes() as launched:
        for name in sys.argv[3:]:
            cell = Cell(name, "frozen teacher")
            with cell.functions():
                engine = build_engine(cell.engine_config, cell.supernet(), cell.optimizer, launched, BATCH)
                {"save": save, "resume": resume}[sys.argv[2]](engine, cell, launched, Path(sys.argv[1]))
            torch.distributed.barrier()
