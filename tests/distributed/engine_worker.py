"""Five sandwich steps on one engine after another; rank 0 saves each state as OUT/ENGINE-STAGE-CLIP.pt.

`engine_worker.py OUT ENGINE-STAGE-CLIP …`
"""

import sys

import torch

from pipeline.engines import build_engine
from pipeline.engines.base import EngineConfig
from pipeline.engines.processes import Processes, launched_processes
from pipeline.supernet.mobilenet_v3 import Supernet
from pipeline.supernet.networks import NETWORKS
from pipeline.supernet.space import Space
from pipeline.training.learning_rate import LearningRateConfig
from pipeline.training.losses import LossConfig
from pipeline.training.optim import OptimizerConfig
from pipeline.training.sandwich import sandwich_step
from pipeline.training.schedule import Schedule, ScheduleConfig

STEPS = 5
BATCH = 8


def space() -> Space:
    return NETWORKS["mobilenet_v3_digits"]


def schedule() -> Schedule:
    """One step of the full model alone, a ramp of two, then the supernet with ε = 1."""
    config = ScheduleConfig(
        duration=f"{STEPS} steps",
        full_model_warmup="3 steps",
        epsilon_ramp="2 steps",
        random_subnets=1,
        learning_rate=LearningRateConfig(base=0.05),
    )
    return Schedule(config, space(), steps_per_epoch=STEPS, seed=7)


def supernet() -> Supernet:
    torch.manual_seed(0)
    return Supernet(space(), dropout=0.0)


def batch(step: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(step)
    images = torch.randn(BATCH, 3, 16, 16, generator=generator)
    return images, torch.randint(10, (BATCH,), generator=generator)


def optimizer(clip: float | None) -> OptimizerConfig:
    return OptimizerConfig(weight_decay=1e-2, gradient_clip=clip)


def train(case: str, processes: Processes, out: str) -> None:
    engine_name, stage, clip = case.split("-")
    config = EngineConfig.model_validate({"name": engine_name, "zero_stage": int(stage)})
    engine = build_engine(config, supernet(), optimizer(float(clip) or None), processes, BATCH)
    norms = []
    for step in range(STEPS):
        images, labels = (tensor.chunk(processes.world)[processes.rank] for tensor in batch(step))
        if step == 3:  # the state must survive a round trip through the canonical form
            engine.load_state(engine.full_state())
        result = sandwich_step(engine, schedule().at(step), images, labels, LossConfig())
        norms.append(float(result.gradient_norm))
    state = engine.full_state()
    if processes.is_main:
        torch.save({"weights": state.weights, "momentum": state.momentum, "norms": norms}, f"{out}/{case}.pt")


if __name__ == "__main__":
    with launched_processes() as launched:
        for each in sys.argv[2:]:
            train(each, launched, sys.argv[1])
