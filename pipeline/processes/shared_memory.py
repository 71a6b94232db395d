"""How a run's readers share the shared memory of its machines."""

from __future__ import annotations

import logging
import socket
from collections import Counter
from collections.abc import Sequence

from data_shards.config import DataConfig
from data_shards.loading.shared_memory import fit_shared_memory, free_bytes
from data_shards.store.index import Split
from pipeline.processes.group import Processes

logger = logging.getLogger(__name__)


def fit_readers(
    config: DataConfig, split: Split, batches: Sequence[tuple[int, int]], processes: Processes
) -> DataConfig:
    """See `data_shards.loading.shared_memory`; warns, on the main process, where something is lowered.

    The machine that has least room for each of its processes decides for all, so that all refuse, or none. All
    processes must call it, before any of them reads.
    """
    places = processes.gathered([(socket.gethostname(), free_bytes())])
    together = Counter(host for host, _ in places)
    host, free = min(places, key=lambda place: place[1] / together[place[0]])
    fitted, told = fit_shared_memory(config, split, batches, free, together[host])
    if told and processes.is_main:
        logger.warning("%s", told)
    return fitted
