"""Whether shared memory has room for the batches that reader processes hand over: containers often have 64 MB of it.

torch puts a tensor that goes from one process to another into a file in /dev/shm. The file has no name, and exists as
long as either process has it open. Where /dev/shm is full, a reader cannot hand its batch over.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable

from data_shards.config import DataConfig
from data_shards.errors import ShardUsageError
from data_shards.loading.automatic import automatic_prefetch, automatic_workers
from data_shards.loading.choice import choose_reader
from data_shards.store.index import Split

PLACE = "/dev/shm"
_TAKEN = 3  # batches of a loader besides those that are ready: the one in use, and the next two
_MIB = 1 << 20


def free_bytes() -> int:
    """Bytes that can be written into shared memory now; 0 where there is none, or none that this user may write."""
    try:
        place = os.statvfs(PLACE)
    except OSError:
        return 0
    return place.f_bavail * place.f_frsize if os.access(PLACE, os.W_OK | os.X_OK, effective_ids=True) else 0


def fit_shared_memory(
    config: DataConfig, split: Split, batches: Iterable[tuple[int, int]], free: int, processes: int
) -> tuple[DataConfig, str | None]:
    """The configuration with fewer workers and batches ahead, where shared memory would not hold as many.

    Only what the recipe leaves to the machine (`auto`) is lowered; what is read does not change.

    Args:
        split: what is read. The choice of the reader depends on it; DALI's needs no shared memory.
        batches: number and side of the images of a batch, for each of the loaders that have batches ready at one time.
        free: bytes of shared memory that are free on this machine before reading begins (`free_bytes`).
        processes: number of processes on this machine, of which each reads as much.

    Returns:
        The configuration; and a line that says what was lowered, None where nothing was.

    Raises:
        ShardUsageError: the recipe names more than there is room for.
    """
    workers = automatic_workers() if config.workers == "auto" else config.workers
    prefetch = automatic_prefetch(workers) if config.prefetch == "auto" else config.prefetch
    one = sum(3 * images * side**2 for images, side in batches)  # bytes of a batch of each loader
    room = max(free // (processes * one) - _TAKEN, 0)  # for batches that are ready
    if workers * prefetch <= room or choose_reader(config.reader, config.augmentation, split) == "dali":
        return config, None
    needed = processes * one * (workers * prefetch + _TAKEN)
    lack = (
        f"{workers} workers × {prefetch} batches ready × {processes} processes need {needed / _MIB:,.0f} MiB of "
        f"{PLACE}, where {free / _MIB:,.0f} can be had"
    )
    more = f"docker run --shm-size={64 * math.ceil(needed / _MIB / 64)}m gives it more"
    most = min(workers, room // (1 if config.prefetch == "auto" else prefetch))
    if config.workers != "auto" and most < workers:
        legal = [f"data.workers=0 … {most}" if most else "data.workers=0"]
        if config.prefetch != "auto" and room >= workers:
            legal.append(f"data.prefetch=1 … {room // workers}")
        raise ShardUsageError(f"data.workers: {lack}; legal: {', '.join(legal)}, or smaller batches; {more}")
    if config.prefetch == "auto":
        prefetch = max(min(prefetch, room // max(most, 1)), 1)
    told = f"data.workers: {most} and data.prefetch: {prefetch} it is, as {lack}; {more}"
    return config.model_copy(update={"workers": most, "prefetch": prefetch}), told
