"""Reads batches before they are needed: in worker processes, or by DALI."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sized
from itertools import chain
from typing import Protocol, TypeAlias

import numpy as np
import torch
from torch.utils.data import DataLoader

from data_shards.augmentation.crops import Crops
from data_shards.decoding import dali as dali_reader
from data_shards.errors import ReaderLost, ShardDamage
from data_shards.loading.answer import Answer, Batch
from data_shards.loading.batch_reader import BatchReader, Request
from data_shards.loading.processes import end_with_trainer, reader_context, reader_lost
from data_shards.loading.taking_ahead import taken_ahead

_Mended: TypeAlias = tuple[Request, list[ShardDamage]]  # a request, and the damage to samples it has lost


class Requests(Sized, Iterable[Request], Protocol):
    """Requests that are drawn up one by one, and whose number is known: what DataLoader takes as its sampler."""


def prepare_workers() -> None:
    """Get the server of the worker processes ready in the background, so that they start at once when needed."""
    reader_context(BatchReader.__module__)


def prefetched(reader: BatchReader, requests: Requests, largest: int, skipped: list[ShardDamage]) -> Iterator[Batch]:
    """The batches that are asked for, in order, each read before its turn.

    Args:
        largest: number of samples in the largest request.
        skipped: with each batch, the damage to samples in whose place it shows others is added to this list.

    Raises:
        ShardDamage: when the batch is due that cannot be read.
        ReaderLost: a worker process has ended, or what it handed over cannot be taken.
    """
    dali = reader.name == "dali"
    for answer in _through_dali(reader, requests, largest) if dali else _through_workers(reader, requests):
        skipped += answer.skipped
        yield answer.batch


def _through_dali(reader: BatchReader, requests: Requests, largest: int) -> Iterator[Answer]:
    coming: Iterator[_Mended] = ((request, []) for request in requests)
    asked: deque[_Mended] = deque()  # of DALI, and not answered yet

    def ask(coming: Iterator[_Mended]) -> Iterator[tuple[np.ndarray, Crops]]:
        for request, skipped in coming:
            asked.append((request, skipped))
            reader.expect(request)
            yield request.ids, reader.crops(request)

    while True:
        try:
            for images in dali_reader.read_batches(
                reader.split,
                ask(coming),
                largest,
                threads=max(reader.workers, 1),
                prefetch=reader.prefetch,
                beyond_border=reader.config.augmentation.crop == "padded",
            ):
                request, skipped = asked.popleft()
                batch = reader.batch(request, images)
                # The rest is copied to the GPU later; only from pinned memory does the host not wait for that.
                if images.is_cuda:
                    batch = Batch(*(part if part.is_cuda else part.pin_memory() for part in batch))
                yield Answer(batch, skipped)
            return
        except ShardDamage:
            if not reader.substitute:
                raise
            # DALI's pipeline has ended with the damage. Another pipeline begins with the requests that this one has not
            # answered, with other samples in place of the damaged ones.
            found = [reader.substituted(request) for request, _ in asked]
            if not any(damages for _, damages in found):  # no sample is damaged, or only DALI cannot decode one
                raise
            mended = [(request, told + new) for (request, new), (_, told) in zip(found, asked, strict=True)]
            coming = chain(mended, coming)
            asked.clear()


def _through_workers(reader: BatchReader, requests: Requests) -> Iterator[Answer]:
    workers, pinned = reader.workers, torch.cuda.is_available()
    loader = DataLoader(
        reader,
        sampler=requests,
        batch_size=None,
        collate_fn=_unchanged,
        num_workers=workers,
        prefetch_factor=reader.prefetch if workers else None,
        multiprocessing_context=reader_context(BatchReader.__module__) if workers else None,
        worker_init_fn=end_with_trainer,
        pin_memory=pinned,
    )
    answers = _answers(iter(loader))
    # What pins memory is a thread of torch's, which takes answers ahead, too.
    for answer in taken_ahead(answers) if workers and not pinned else answers:
        if isinstance(answer, ShardDamage | ReaderLost):
            raise answer
        yield answer


def _answers(answers: Iterator[Answer | ShardDamage | ReaderLost]) -> Iterator[Answer | ShardDamage | ReaderLost]:
    while (answer := _next(answers)) is not None:
        yield answer


def _next(answers: Iterator[Answer | ShardDamage | ReaderLost]) -> Answer | ShardDamage | ReaderLost | None:
    """The next answer; None after the last one.

    Raises:
        ReaderLost: a worker has ended, or what it has handed over cannot be taken. torch raises a RuntimeError of its
            own where it has noticed that a worker ended; where it has not, it fails while it fetches something from
            the worker. An error that a worker raised itself is another thing: torch raises it again, as "Caught …".
    """
    try:
        return next(answers, None)
    except MemoryError as error:
        raise reader_lost("finds no memory left") from error
    except (RuntimeError, EOFError, ConnectionError) as error:
        told = str(error)
        if told.startswith(("Too many open files", "unable to ")):
            raise reader_lost(f"has handed over what cannot be taken: {told}") from error
        if told.startswith(("DataLoader worker", "Pin memory thread")) or not (
            isinstance(error, RuntimeError) or told.startswith("Caught ")
        ):
            raise reader_lost("has ended unexpectedly: killed, perhaps, as memory or /dev/shm was full") from error
        raise


def _unchanged(batch):
    return batch
