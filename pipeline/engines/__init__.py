"""Ways to run one training step on one or many processes, behind one protocol (`base.Engine`)."""

from __future__ import annotations

from pipeline.engines.optimizer import OptimizerConfig
from pipeline.engines.protocol import Engine, EngineConfig, EngineError
from pipeline.processes.group import Processes
from pipeline.supernet.supernet import Supernet


def build_engine(
    config: EngineConfig, supernet: Supernet, optimizer: OptimizerConfig, processes: Processes, batch_size: int
) -> Engine:
    """The engine that a recipe names, around a supernet that already is on its device.

    Args:
        batch_size: of all processes together.

    Raises:
        EngineError: where the engine cannot run on these processes.
    """
    if config.name == "deepspeed":
        from pipeline.engines.deepspeed.engine import DeepSpeedEngine

        return DeepSpeedEngine(supernet, optimizer, config, batch_size // processes.world)
    if config.name == "ddp":
        from pipeline.engines.ddp import DdpEngine

        return DdpEngine(supernet, optimizer)
    if config.name == "fsdp":
        from pipeline.engines.fsdp import FsdpEngine

        return FsdpEngine(supernet, optimizer)
    if processes.world > 1:
        raise EngineError(
            f"engine.name: 'single' cannot run on {processes.world} processes; legal: ddp, fsdp, deepspeed"
        )
    from pipeline.engines.single import SingleEngine

    return SingleEngine(supernet, optimizer)
