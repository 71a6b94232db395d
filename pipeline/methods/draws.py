"""What is drawn for a step: a pure function of (seed, step, what for), so that processes agree without talking."""

from __future__ import annotations

import numpy as np


def step_bits(seed: int, step: int, *purpose: int) -> int:
    """64 random bits for one purpose of a step.

    Args:
        purpose: a `Purpose`, and whatever tells its draws apart.
    """
    return int(np.random.SeedSequence([seed, step, *purpose]).generate_state(1, np.uint64)[0])
