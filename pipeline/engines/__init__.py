"""Ways to run one training step on one or many processes, behind one protocol (`protocol.Engine`)."""

from __future__ import annotations

from typing import Annotated

from pipeline.by_name import ByName
from pipeline.engines.ddp import DdpConfig
from pipeline.engines.deepspeed.config import DeepSpeedConfig
from pipeline.engines.fsdp.config import FsdpConfig
from pipeline.engines.optimizer import OptimizerConfig
from pipeline.engines.protocol import Engine
from pipeline.engines.single import SingleConfig
from pipeline.processes.group import Processes
from pipeline.supernet.supernet import Supernet

# The recipe's `engine`. A new one is a file with its engine and its configuration, and a name here.
EngineConfig = Annotated[SingleConfig | DdpConfig | FsdpConfig | DeepSpeedConfig, ByName(default="deepspeed")]


def build_engine(
    config: EngineConfig, supernet: Supernet, optimizer: OptimizerConfig, processes: Processes, batch_size: int
) -> Engine:
    """The engine that a recipe names, around a supernet that already is on its device.

    Args:
        batch_size: of all processes together.

    Raises:
        EngineError: where the engine cannot run on these processes.
    """
    config.check_processes(processes.world)
    return config.build(supernet, optimizer, batch_size // processes.world)
