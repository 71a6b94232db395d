"""The mark of what may be another in a later start of the same training."""

from __future__ import annotations

from typing import Annotated, TypeVar

T = TypeVar("T")


class _MayChange:
    """See `MayChange`."""


MAY_CHANGE = _MayChange()

# The type of a configuration's key, as in `workers: MayChange[int]`, of which another value changes nothing of what is
# trained: a run may be gone on with under another, and runs that differ in it are of one approach.
MayChange = Annotated[T, MAY_CHANGE]
