"""What each step of a run trains: phases, learning rates, subnets drawn, losses."""

from __future__ import annotations

from typing import Annotated

from pipeline.by_name import ByName
from pipeline.methods.alpha_net import AlphaNetConfig
from pipeline.methods.attentive_nas import AttentiveNasConfig
from pipeline.methods.bignas import BigNasConfig
from pipeline.methods.compofa import CompOfaConfig
from pipeline.methods.deps import DepsConfig
from pipeline.methods.ofa import OfaConfig
from pipeline.methods.single import SingleConfig

# The recipe's `schedule`. A new method is a file with its configuration, and a name here.
MethodConfig = Annotated[
    DepsConfig | OfaConfig | CompOfaConfig | BigNasConfig | AttentiveNasConfig | AlphaNetConfig | SingleConfig,
    ByName(default="deps"),
]
