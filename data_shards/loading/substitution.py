"""Which sample is shown in place of a damaged one: a pure function of (seed, epoch, id), and of what is damaged.

It depends neither on the batch nor on the rank nor on a resume: the same samples are shown at any world size.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from data_shards.errors import ShardDamage
from data_shards.randomness import Draws, Purpose

# Even with half of all samples damaged, only one search in 4 billion finds no healthy one.
ATTEMPTS = 32


def candidates(seed: int, epoch: int, sample: int, samples: int) -> list[int]:
    """The samples to try, in this order, in place of `sample`; it may be among them.

    Args:
        samples: number of samples in the split.

    Returns:
        `ATTEMPTS` ids, of 0 … samples - 1.
    """
    bits = Draws(seed, epoch, np.array(sample)).bits(Purpose.SUBSTITUTE, ATTEMPTS)
    return (bits % np.uint64(samples)).astype(np.int64).tolist()


def healthy_ids(
    ids: np.ndarray, seed: int, epoch: int, samples: int, check: Callable[[int], object]
) -> tuple[np.ndarray, list[ShardDamage]]:
    """`ids` (int [B]) with damaged samples replaced, and the damage met, each damaged sample once.

    Args:
        samples: number of samples in the split, from which others are drawn.
        check: reads a sample as the batch will; raises ShardDamage where it is damaged.

    Raises:
        ShardDamage: a sample is damaged, and so is every one that was tried in its place.
    """
    damaged: dict[int, ShardDamage] = {}
    sound: set[int] = set()

    def is_sound(sample: int) -> bool:
        if sample not in sound and sample not in damaged:
            try:
                check(sample)
                sound.add(sample)
            except ShardDamage as damage:
                damaged[sample] = damage
        return sample in sound

    shown = [_shown(sample, is_sound, candidates(seed, epoch, sample, samples), damaged) for sample in ids.tolist()]
    return np.array(shown, np.int64), list(damaged.values())


def _shown(
    sample: int, is_sound: Callable[[int], bool], substitutes: list[int], damaged: dict[int, ShardDamage]
) -> int:
    for each in (sample, *substitutes):
        if is_sound(each):
            return each
    found = damaged[sample]
    reason = f"{found.reason}; so are all {ATTEMPTS} samples tried in its place"
    raise ShardDamage(found.shard, reason, key=found.key, offset=found.offset)
