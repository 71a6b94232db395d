"""The record of a finished shard, by which the next attempt knows it after a kill."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from data_shards.store.index import INDEX_DTYPE
from data_shards.store.manifest import ShardEntry

_BLOCK = 1 << 20  # bytes read at once


class ShardRecord(BaseModel):
    """What is known of a finished shard.

    Attributes:
        fingerprint: hash of all that decides its content.
        entry: its line in the manifest.
        rows_sha256: of its part of the index, which lies beside the record, in hex.
        changed: number of images, by what was done to them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    fingerprint: str
    entry: ShardEntry
    rows_sha256: str
    changed: dict[str, int]


class RecordFiles:
    """The files of one shard's record."""

    def __init__(self, folder: Path, shard: str):
        self._json, self._rows = folder / f"{shard}.json", folder / f"{shard}.npy"

    def write(self, fingerprint: str, entry: ShardEntry, rows: np.ndarray, changed: dict[str, int]) -> ShardRecord:
        """Write the record. The shard must have its final name by then.

        Raises:
            OSError: the record cannot be written.
        """
        np.save(self._rows, rows, allow_pickle=False)
        record = ShardRecord(
            fingerprint=fingerprint,
            entry=entry,
            rows_sha256=hashlib.sha256(rows.tobytes()).hexdigest(),
            changed=changed,
        )
        part = self._json.with_suffix(".part")
        part.write_text(record.model_dump_json(), encoding="utf-8")
        os.replace(part, self._json)
        return record

    def rows(self) -> np.ndarray:
        """The shard's part of the index: [samples] of `INDEX_DTYPE`."""
        return np.load(self._rows, allow_pickle=False)

    def read(self, fingerprint: str, shard: Path) -> ShardRecord | None:
        """The record, if it has this fingerprint and the file `shard` is what it says, to the last byte; else None."""
        try:
            record = ShardRecord.model_validate_json(self._json.read_bytes())
            if record.fingerprint != fingerprint or shard.stat().st_size != record.entry.bytes:
                return None
            rows = self.rows()
            whole = rows.dtype == INDEX_DTYPE and hashlib.sha256(rows.tobytes()).hexdigest() == record.rows_sha256
            return record if whole and _sha256(shard) == record.entry.sha256 else None
        except (OSError, ValueError, ValidationError, EOFError):  # missing, cut, or of another version
            return None


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
