"""What is drawn for a step: a pure function of (seed, step, purpose), so that processes agree without talking."""

from __future__ import annotations

import numpy as np

from data_shards.randomness import Of, Purpose


def step_bits(seed: int, step: int, purpose: Purpose, which: int | None = None) -> int:
    """64 random bits for one purpose of a step, by NumPy's SeedSequence, whose values are fixed for good.

    Args:
        seed: of the run.
        which: the slot that a subnet is drawn for, below 2^16; the rank whose features are dropped.
    """
    assert purpose.of is Of.STEP, purpose
    assert (purpose is Purpose.RESOLUTION) == (which is None), f"{purpose} of {which}"
    numbers = [number for number in (purpose.number, which) if number is not None]
    return int(np.random.SeedSequence([seed, step, *numbers]).generate_state(1, np.uint64)[0])
