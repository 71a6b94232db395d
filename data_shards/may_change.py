"""The mark of a key that may have another value in a later start of the same run."""

from __future__ import annotations

from typing import Annotated, TypeVar

T = TypeVar("T")


class _MayChange:
    """See `MayChange`."""


MAY_CHANGE = _MayChange()

# The type of a configuration's key (`workers: MayChange[int]`) whose value changes nothing of what is trained: a run
# may be resumed with another value, and runs that differ in it are of one approach.
MayChange = Annotated[T, MAY_CHANGE]
