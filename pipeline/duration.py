"""Durations of a recipe: `30 epochs`, `500 steps` or `50%` of the run, turned into steps once."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

from pipeline.errors import UsageError

_PATTERN = re.compile(r"(?P<amount>[0-9]{1,12}(\.[0-9]{1,20})?)\s*(?P<unit>%|epochs?|steps?)")


def _as_text(value: object) -> object:
    return "0 steps" if value == 0 and not isinstance(value, bool) else value


def _check(text: str) -> str:
    if not _PATTERN.fullmatch(text.strip()):
        raise ValueError("is no duration; write '30 epochs', '500 steps', '50%' or 0")
    return text.strip()


Duration = Annotated[str, BeforeValidator(_as_text), AfterValidator(_check)]
"""A recipe's duration, as text."""


def in_steps_or_epochs(value: object) -> bool:
    """Whether this is a duration that does not follow from another one, as a percentage does."""
    return isinstance(value, str) and bool(_PATTERN.fullmatch(value)) and not value.endswith("%")


def to_steps(duration: str, steps_per_epoch: int, total: int | None = None) -> int:
    """Optimizer steps of `duration`, rounded to the nearest.

    Args:
        total: the run's steps, which a percentage refers to.

    Raises:
        UsageError: for a percentage where `total` is None, and for what is less than a step, yet not 0.
    """
    match = _PATTERN.fullmatch(duration)
    assert match is not None, duration
    amount = float(match["amount"])
    if match["unit"] == "%":
        if total is None:
            raise UsageError(f"'{duration}': a run's own duration is given in epochs or steps")
        steps = round(amount / 100 * total)
    else:
        steps = round(amount * steps_per_epoch) if match["unit"].startswith("epoch") else round(amount)
    if amount and not steps:
        raise UsageError(
            f"'{duration}': is less than one step ({steps_per_epoch} steps are an epoch); write 0 for never"
        )
    return steps
