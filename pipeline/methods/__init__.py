"""What each step of a run trains: phases, learning rates, subnets drawn, losses."""

from __future__ import annotations

from typing import Annotated

from pipeline.by_name import ByName
from pipeline.methods.deps import DepsConfig

# The recipe's `schedule`. A new method is a file with its configuration, and a name here.
MethodConfig = Annotated[DepsConfig, ByName(default="deps")]
