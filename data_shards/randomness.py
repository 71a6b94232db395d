"""Random numbers as a pure function of what they are for: no state to save, no order to keep, any worker may ask.

SplitMix64 (Steele, Lea and Flood, 2014) as a counter-based hash. Unlike NumPy's generators, whose streams may change
from one release to the next, the values are fixed for good, and so are the order and the crops of a recorded run.
"""

from __future__ import annotations

from enum import IntEnum, unique

import numpy as np
from numpy.typing import ArrayLike


@unique
class Purpose(IntEnum):
    """What a run draws for, of its seed: no two purposes share a number, and none may change, or runs would not go on.

    A data set that is packed is drawn of a seed of its own.
    """

    # Of (epoch, …)
    ORDER = 1
    SUBSTITUTE = 2
    SHARD_ORDER = 3
    BLOCK_ORDER = 4
    FLIP = 10
    SHIFT_X = 11
    SHIFT_Y = 12
    CROP_AREA = 13
    CROP_RATIO = 14
    SUB_POLICY = 20
    APPLIED = 21
    SIDE = 22
    JITTER = 30
    ERASE = 31
    ERASE_AREA = 32
    ERASE_ASPECT = 33
    ERASE_X = 34
    ERASE_Y = 35
    ERASE_COLOUR = 36
    MIX = 40
    CUT = 41
    SHARE = 42
    CUT_X = 43
    CUT_Y = 44
    # Of (step, …)
    SUBNET = 0  # and the slot's index on top
    RESOLUTION = 1 << 16
    DROPOUT = (1 << 16) + 1


_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def splitmix64(values: np.ndarray) -> np.ndarray:
    """One step of SplitMix64, element by element: uint64 in, uint64 of the same shape out; a bijection."""
    z = values + _GOLDEN
    z = (z ^ (z >> np.uint64(30))) * _MIX_1
    z = (z ^ (z >> np.uint64(27))) * _MIX_2
    return z ^ (z >> np.uint64(31))


def random_bits(*counters: ArrayLike) -> np.ndarray:
    """uint64 noise for a tuple of integers, broadcast against each other: (seed, what for, epoch, sample ids …)."""
    with np.errstate(over="ignore"):  # arithmetic modulo 2^64 is meant
        state = np.zeros((1,), np.uint64)
        for counter in counters:
            state = splitmix64(state ^ splitmix64(np.asarray(counter, np.int64).astype(np.uint64)))
    return state if any(np.ndim(counter) for counter in counters) else state[0]


def uniform(*counters: ArrayLike) -> np.ndarray:
    """float64 in [0, 1) for a tuple of integers, broadcast against each other."""
    return (random_bits(*counters) >> np.uint64(11)) * 2.0**-53
