"""One choice that a space leaves open."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from pipeline.supernet.subnet import Subnet, SubnetError

MOST_SIDE = 4096  # of an input, pixels
What = Literal["stem", "width", "depth", "kernel", "expand", "head", "resolution"]  # what is chosen


class Dimension(NamedTuple):
    """One choice of a space.

    Attributes:
        stage: index of the stage; of a stem's or head's dimension, its place among those.
        block: index in the stage; None where it is about all of the stage.
    """

    what: What
    choices: tuple[Any, ...]
    stage: int | None = None
    block: int | None = None

    @property
    def address(self) -> tuple[What, int | None, int | None]:
        """What it is about, whatever the choices."""
        return self.what, self.stage, self.block

    def of(self, subnet: Subnet) -> Any:
        """What `subnet` chooses; None where it does not come to this choice."""
        if self.what == "resolution":
            return subnet.resolution
        assert self.stage is not None
        if self.what in ("stem", "head"):
            chosen = getattr(subnet, self.what)
            return chosen[self.stage] if self.stage < len(chosen) else None
        stage, block = subnet.stages[self.stage], self.block or 0
        if self.what == "width":
            return stage.width
        if self.what == "depth":
            return len(stage.blocks)
        return getattr(stage.blocks[block], self.what) if block < len(stage.blocks) else None

    def check(self, value: Any) -> None:
        """Raises SubnetError, naming the legal values, where `value` is none of them."""
        if self.what == "resolution":
            if not 1 <= value <= MOST_SIDE:
                raise SubnetError(f"resolution {value} is no number of pixels from 1 to {MOST_SIDE}")
        elif value not in self.choices:
            place = self.what if self.stage is None or self.what in ("stem", "head") else f"stage {self.stage + 1}"
            what = {"stem": "choice", "head": "choice", "expand": "expand ratio"}.get(self.what, self.what)
            raise SubnetError(f"{place}: {what} {value} is none of {list(self.choices)}")
