"""The record of damaged samples that a run has skipped: it outlives restarts, and has a limit."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from data_shards.errors import ShardDamage

_WORST = 5  # shards that a message names


class DamageRecord:
    """The damaged samples of one split, each once, however often it was met.

    Args:
        folder: of the split.
        samples: number of samples in the split.
        allowed: the share of them that may be damaged.
    """

    def __init__(self, folder: Path, samples: int, allowed: float):
        self.folder, self.samples, self.limit = folder, samples, int(allowed * samples)
        self._shards: dict[str, dict[str, ShardDamage]] = {}  # by file name, then by key

    def __len__(self) -> int:
        return sum(self.by_shard.values())

    @property
    def by_shard(self) -> dict[str, int]:
        """Number of damaged samples by the shard's file name, the most damaged shard first."""
        counts = {shard: len(samples) for shard, samples in self._shards.items()}
        return dict(sorted(counts.items(), key=lambda each: (-each[1], each[0])))

    def add(self, damages: Iterable[ShardDamage]) -> list[ShardDamage]:
        """Add damage to samples.

        Returns:
            Of each shard that had no damage before, the first.
        """
        first = []
        for damage in damages:
            assert damage.key is not None, "damage to a whole file cannot be skipped"
            shard = Path(damage.shard).name
            if shard not in self._shards:
                first.append(damage)
            self._shards.setdefault(shard, {}).setdefault(damage.key, damage)
        return first

    def check(self) -> None:
        """Check that there is no more damage than allowed.

        Raises:
            ShardDamage: there is; the message tells the counts.
        """
        if len(self) > self.limit:
            reason = f"{self}, more than the {self.limit} that max_corrupt allows; `deps shards verify` names them all"
            raise ShardDamage(self.folder, reason)

    def __str__(self) -> str:
        counts = self.by_shard
        named = [f"{count} in {shard}" for shard, count in list(counts.items())[:_WORST]]
        more = [f"the others in {len(counts) - _WORST} more shards"] if len(counts) > _WORST else []
        return f"{len(self)} of {self.samples} samples found damaged: {', '.join(named + more)}"

    def to_json(self) -> dict[str, Any]:
        """The whole record as JSON values, for people and for `read`."""
        shards = {
            shard: {key: {"offset": each.offset, "reason": each.reason} for key, each in sorted(samples.items())}
            for shard, samples in sorted(self._shards.items())
        }
        return {"damaged_samples": len(self), "by_shard": self.by_shard, "shards": shards}

    def read(self, content: Any) -> None:
        """Add what `to_json` wrote.

        Raises:
            ValueError: `content` is not of that form.
        """
        try:
            for shard, samples in content["shards"].items():
                for key, found in samples.items():
                    self.add([ShardDamage(self.folder / shard, found["reason"], key, found["offset"])])
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"no record of damage: {str(error)[:60]!r}") from None
