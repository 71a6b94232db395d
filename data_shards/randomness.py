"""Random numbers as a pure function of what they are drawn for: no state has to be saved, and any worker may draw.

The numbers are SplitMix64 (Steele, Lea and Flood, 2014), used as a hash of counters. NumPy's generators may change from
one release to the next; these numbers never do, and neither do the order and the crops of a run that was recorded.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, unique

import numpy as np
from numpy.typing import ArrayLike


class Of(Enum):
    """What the draws for a purpose follow from."""

    EPOCH = "the seed of a run, an epoch, ids of samples"
    STEP = "the seed of a run, a step, a slot of the step or a rank"
    DATA_SET = "a data set: its own seed, if it has one, and positions in it"


@unique
class Purpose(Enum):
    """Everything that is drawn.

    Each purpose has a number, by which its draws differ from those for other purposes of the same kind (`Of`). Numbers
    never change: runs that were begun before could not go on, and packed data sets could not be packed again.
    """

    ORDER = Of.EPOCH, 1
    SUBSTITUTE = Of.EPOCH, 2
    SHARD_ORDER = Of.EPOCH, 3
    BLOCK_ORDER = Of.EPOCH, 4
    FLIP = Of.EPOCH, 10
    SHIFT_X = Of.EPOCH, 11
    SHIFT_Y = Of.EPOCH, 12
    CROP_AREA = Of.EPOCH, 13
    CROP_RATIO = Of.EPOCH, 14
    SUB_POLICY = Of.EPOCH, 20
    APPLIED = Of.EPOCH, 21
    SIDE = Of.EPOCH, 22
    JITTER = Of.EPOCH, 30
    ERASE = Of.EPOCH, 31
    ERASE_AREA = Of.EPOCH, 32
    ERASE_ASPECT = Of.EPOCH, 33
    ERASE_X = Of.EPOCH, 34
    ERASE_Y = Of.EPOCH, 35
    ERASE_COLOUR = Of.EPOCH, 36
    MIX = Of.EPOCH, 40
    CUT = Of.EPOCH, 41
    MIX_RATIO = Of.EPOCH, 42
    CUT_X = Of.EPOCH, 43
    CUT_Y = Of.EPOCH, 44

    SUBNET = Of.STEP, None  # has no number of its own: the slots' numbers, below 2^16, stand in its place
    RESOLUTION = Of.STEP, 1 << 16
    DROPOUT = Of.STEP, (1 << 16) + 1
    MACS_TABLE = Of.STEP, (1 << 16) + 2  # of step 0, for all of the run

    SHEET_IMAGES = Of.DATA_SET, 0
    SHEET_CLASSES = Of.DATA_SET, 1
    DIGITS100_LABEL = Of.DATA_SET, 20
    DIGITS100_SCAN = Of.DATA_SET, 21
    DIGITS100_GEOMETRY = Of.DATA_SET, 22
    DIGITS100_COLOUR = Of.DATA_SET, 23
    DIGITS100_TEXTURE = Of.DATA_SET, 24
    DIGITS100_SPECKLE = Of.DATA_SET, 25
    FILE_ORDER = Of.DATA_SET, 40
    CIFAR_ORDER = Of.DATA_SET, 41
    VALIDATION = Of.DATA_SET, 42
    CALIBRATION = Of.DATA_SET, 43
    DIGITS_HELD_OUT = Of.DATA_SET, 1797

    def __init__(self, of: Of, number: int | None):
        self.of, self.number = of, number


class _Drawing:
    """Draws random numbers for ids; what they follow from besides is up to the subclasses."""

    def _counters(self, purpose: Purpose) -> tuple[ArrayLike, ...]:
        """What is hashed for each draw, in this order: integers, and arrays of them of the ids' shape."""
        raise NotImplementedError

    def bits(self, purpose: Purpose, *shape: int) -> np.ndarray:
        """Random bits for each id: one number, or an array of the given shape.

        Returns:
            uint64 [ids' shape, shape].
        """
        new_axes = (None,) * len(shape)
        counters = (np.asarray(counter)[(..., *new_axes)] for counter in self._counters(purpose))
        return random_bits(*counters, *np.ix_(*map(np.arange, shape)))

    def uniform(self, purpose: Purpose, *shape: int) -> np.ndarray:
        """Random numbers in [0, 1) for each id: one, or an array of the given shape.

        Returns:
            float64 [ids' shape, shape].
        """
        return (self.bits(purpose, *shape) >> np.uint64(11)) * 2.0**-53

    def order(self, purpose: Purpose) -> np.ndarray:
        """The positions 0 … B - 1 of the B ids, in random order: int64 [B]."""
        return np.argsort(self.bits(purpose), kind="stable")


@dataclass(frozen=True, eq=False)
class Draws(_Drawing):
    """What is drawn for samples in an epoch of a run.

    Args:
        seed: of the run.
        epoch: from 0 on.
        ids: of the samples: int [B]; int [] for a single one.
        partners: where something is drawn for two samples together, the ids of the others: int [B].
    """

    seed: int
    epoch: int
    ids: np.ndarray
    partners: np.ndarray | None = None

    def pairs(self) -> Draws:
        """Draws for neighbours together: those at positions 2k and 2k + 1 of the ids, which must be an even number."""
        first, second = self.ids.reshape(-1, 2).T
        return Draws(self.seed, self.epoch, first, second)

    def _counters(self, purpose: Purpose) -> tuple[ArrayLike, ...]:
        together = (self.ids,) if self.partners is None else (self.ids, self.partners)
        return self.seed, _number(purpose, Of.EPOCH), self.epoch, *together


@dataclass(frozen=True, eq=False)
class DataSetDraws(_Drawing):
    """What is drawn for a data set, once and for all.

    Args:
        ids: int [B]: positions of images, or of whatever else is drawn for.
        seed: of the data set; None for what is the same in all.
        split: number of the split, where splits draw differently.
    """

    ids: np.ndarray
    seed: int | None = None
    split: int | None = None

    def _counters(self, purpose: Purpose) -> tuple[ArrayLike, ...]:
        number = _number(purpose, Of.DATA_SET)
        if self.seed is None:
            return number, self.ids
        if self.split is None:
            return self.seed, number, self.ids
        return random_bits(self.seed, self.split, number).astype(np.int64), self.ids


def _number(purpose: Purpose, of: Of) -> int:
    assert purpose.of is of, f"{purpose} is not drawn for of {of.value}"
    assert purpose.number is not None, f"{purpose} has no number"
    return purpose.number


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
    """The hash of a tuple of integers, broadcast against each other: uint64; drawn from through the values above."""
    with np.errstate(over="ignore"):  # arithmetic modulo 2^64 is meant
        state = np.zeros((1,), np.uint64)
        for counter in counters:
            state = splitmix64(state ^ splitmix64(np.asarray(counter, np.int64).astype(np.uint64)))
    return state if any(np.ndim(counter) for counter in counters) else state[0]
