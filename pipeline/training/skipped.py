"""Damaged training samples that others were shown in place of: told, counted over all processes and starts, bounded."""

from __future__ import annotations

import logging
from pathlib import Path

from data_shards.errors import ShardDamage
from data_shards.loading.loader import DataConfig
from data_shards.store.damage_record import DamageRecord
from data_shards.store.index import Split
from pipeline.errors import RunFailure
from pipeline.files.json_file import read_json, write_json
from pipeline.processes.group import Processes
from pipeline.run.layout import DAMAGE

_log = logging.getLogger(__name__)


class SkippedSamples:
    """What `data.on_corrupt: skip` has cost a run so far. The main process keeps the record; all report to it.

    All processes must create it, and call `settle`, together.

    Raises:
        ShardDamage: on the main process, if earlier starts have met more damage than is allowed; PeerFailure on others.
    """

    def __init__(self, train: Split, data: DataConfig, run_folder: Path, processes: Processes) -> None:
        self.processes = processes
        self._skips = data.on_corrupt == "skip"
        self._path = run_folder / DAMAGE
        self._record = DamageRecord(train.folder, len(train), data.max_corrupt)
        if self._skips:
            processes.on_main(self._take_up)

    def settle(self, damages: list[ShardDamage]) -> None:
        """Report the damage that this process has met since the last call; to be called where any process has.

        Raises:
            ShardDamage: on the main process, if there is more damage by now than is allowed; PeerFailure on others.
        """
        found = self.processes.gathered(damages)
        self.processes.on_main(lambda: self._note(found))

    def metrics(self) -> dict[str, float]:
        """The number of different damaged samples so far; of the main process, in runs that skip."""
        return {"data/skipped": float(len(self._record))} if self._skips else {}

    def summary(self) -> str | None:
        """A line for the end of a run, if anything was skipped."""
        return f"{self._record}; others were shown in their place, see {self._path}" if len(self._record) else None

    def _take_up(self) -> None:
        try:
            self._record.read(read_json(self._path))
        except FileNotFoundError:
            return
        except ValueError as error:
            raise RunFailure(f"{self._path}: {error}; delete it to count anew") from None
        try:
            self._record.check()
        except ShardDamage as damage:
            remedy = f"restore the shards and delete {self._path}, or allow more with data.max_corrupt=…"
            raise ShardDamage(damage.shard, f"{damage.reason}; {remedy}") from None

    def _note(self, damages: list[ShardDamage]) -> None:
        for first in self._record.add(damages):
            tell_skipped(first)
        write_json(self._path, self._record.to_json())
        self._record.check()


def tell_skipped(damage: ShardDamage) -> None:
    """A line on the error stream about the first damage of a shard."""
    _log.warning("skipped, and others after it in this shard are only counted: %s", damage)
