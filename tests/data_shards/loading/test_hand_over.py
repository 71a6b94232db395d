"""Readers hand batches over to the training process; where they cannot, the run ends in one line and never waits."""

import resource
import select
import sys
import threading
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest
import torch

from data_shards.errors import ReaderLost, ShardDamage
from data_shards.loading import prefetching
from data_shards.loading.answer import Answer, Batch
from data_shards.loading.batch_reader import BatchReader
from data_shards.loading.loader import DataConfig, EvaluationLoader
from data_shards.store.index import open_split


class WithoutRoom(BatchReader):
    """A reader that finds no room in shared memory."""

    def __getitem__(self, request):
        answer = super().__getitem__(request)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
        return answer


class WithoutFiles(BatchReader):
    """A reader that may open no file for shared memory."""

    def __getitem__(self, request):
        answer = super().__getitem__(request)
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, most))
        return answer


class WithoutMemory(BatchReader):
    """A reader that finds no memory."""

    def __getitem__(self, request):
        raise MemoryError


class WithoutService(BatchReader):
    """A reader from which nothing can be fetched: the thread that would serve it meets an error, and reports it."""

    def __getitem__(self, request):
        threading.Thread(target=lambda: sys.excepthook(OSError, OSError(24, "Too many open files"), None)).start()
        threading.Event().wait()


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("reader", "workers", "told"),
    [
        (
            WithoutRoom,
            2,
            r"cannot hand over a batch: .*File too large \(27\); fewer data\.workers and a smaller data\.pre",
        ),
        (WithoutFiles, 1, r"cannot hand over a batch: .*Too many open files.*; allow more of them \(ulimit -n\)$"),
        (WithoutService, 1, "has ended unexpectedly"),
        (WithoutMemory, 1, r"finds no memory left; fewer data\.workers and a smaller data\.prefetch need less$"),
    ],
)
def test_a_reader_that_cannot_hand_over_its_batch_ends_the_run(digits100_root, reader, workers, told):
    split, config = open_split(digits100_root, "train"), DataConfig(shards=digits100_root, workers=workers)
    loader = EvaluationLoader(split, config, 32, 50, 0, 1)
    loader._reader = reader(split, config, 0, False)
    with pytest.raises(ReaderLost, match=rf"^a process that reads ahead on \S+ {told}") as caught:
        list(loader)
    assert "\n" not in str(caught.value)


def answer(samples):
    damages = [ShardDamage(f"/a/long/path/to/train-{n:06d}.tar", "cut", f"{n:09d}", n) for n in range(samples)]
    lot = np.random.default_rng(0)
    images = torch.from_numpy(lot.integers(0, 256, (samples, 8, 8, 3), np.uint8))
    return Answer(Batch(images, torch.arange(samples), torch.arange(samples) + 7, torch.rand(samples, 25)), damages)


@pytest.mark.parametrize("samples", [0, 1, 3000])
def test_a_batch_is_handed_over_by_a_message_that_is_sent_whole_or_not_at_all(samples):
    # A killed reader may leave part of a longer message, whose rest would be waited for for ever.
    given = answer(samples)
    message = ForkingPickler.dumps((2**40, given))
    assert len(message) + 4 <= select.PIPE_BUF
    number, taken = ForkingPickler.loads(message)
    assert number == 2**40
    assert all(torch.equal(a, b) and a.dtype == b.dtype for a, b in zip(taken.batch, given.batch, strict=True))
    assert list(map(str, taken.skipped)) == list(map(str, given.skipped))


def failing(error):
    yield 1
    raise error


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("DataLoader worker (pid(s) 7) exited unexpectedly"),
        RuntimeError("Pin memory thread exited unexpectedly"),
        RuntimeError("Too many open files. Communication with the workers is no longer possible. …"),
        RuntimeError("unable to mmap 64 bytes from file <filename not specified>: Cannot allocate memory (12)"),
        EOFError(),
        ConnectionResetError(104, "Connection reset by peer"),
        MemoryError(),
    ],
)
def test_whatever_a_lost_reader_looks_like_is_told_in_one_line(error):
    answers = failing(error)
    assert prefetching._next(answers) == 1
    with pytest.raises(ReaderLost, match=r"^a process that reads ahead on \S+ .*; [^;\n]+$"):
        prefetching._next(answers)


@pytest.mark.parametrize("error", [RuntimeError("shape '[3]' is invalid"), ConnectionError("Caught ConnectionError")])
def test_other_errors_are_not_taken_for_a_lost_reader(error):
    answers = failing(error)
    assert prefetching._next(answers) == 1
    with pytest.raises(type(error), match=str(error)[:6]):
        prefetching._next(answers)
