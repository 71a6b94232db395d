"""Which healthy sample is shown in the place of a damaged one: a pure function of (seed, epoch, id) and the damage.

Neither the batch, nor the rank, nor a resume has a part in it, so that all show the same samples at any world size.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from data_shards.errors import ShardDamage
from data_shards.randomness import Draws, Purpose

# With half of all samples damaged, one search in 4 billion finds none.
ATTEMPTS = 32


def candidates(seed: int, epoch: int, sample: int, samples: int) -> list[int]:
    """The samples, of 0 … samples - 1, to try in this order in the place of `sample`; may contain `sample` itself."""
    bits = Draws(seed, epoch, np.array(sample)).bits(Purpose.SUBSTITUTE, ATTEMPTS)
    return (bits % np.uint64(samples)).astype(np.int64).tolist()


def healthy_ids(
    ids: np.ndarray, seed: int, epoch: int, samples: int, check: Callable[[int], object]
) -> tuple[np.ndarray, list[ShardDamage]]:
    """`ids` (int [B]) with damaged samples replaced, and the damage met, each damaged sample once.

    Args:
        samples: of the split that substitutes are drawn from.
        check: reads a sample as the batch will; raises ShardDamage where it is damaged.

    Raises:
        ShardDamage: for a sample that none of its substitutes can stand in for.
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
