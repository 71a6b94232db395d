"""The reader processes: how they are started, when they end, and what happens where they cannot hand a batch over."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import sys
import threading
from multiprocessing import forkserver, resource_tracker
from multiprocessing.context import ForkServerContext
from multiprocessing.queues import Queue
from typing import Any

from data_shards.errors import ReaderLost

# Terminals, launchers and SLURM send these to whole process groups. They are meant for the training process: it decides
# what to do, typically to save and leave, and needs its readers meanwhile.
_FOR_THE_TRAINER = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2}


def reader_lost(what: str) -> ReaderLost:
    """The error to raise for a reader process: one line of what happened to it, as `what` says, and what helps."""
    told = " ".join(what.split())
    many = "Too many open files" in told
    remedy = "allow more of them (ulimit -n)" if many else "fewer data.workers and a smaller data.prefetch need less"
    return ReaderLost(f"a process that reads ahead on {socket.gethostname()} {told}; {remedy}")


class _AnsweringQueue(Queue):
    """A queue that sends an error where an answer cannot be sent.

    The library's own queue then prints a traceback and drops the answer, and the receiver would wait for it for ever.
    This happens where no shared memory is left, or no file may be opened for it.
    """

    def _on_queue_feeder_error(self, error: Exception, item: Any) -> None:
        if isinstance(item, tuple):  # it is not pickled yet: the number of a request, and the answer
            self.put((item[0], reader_lost(f"cannot hand over a batch: {error}")))
        elif multiprocessing.parent_process() is not None:
            os._exit(1)  # the pipe takes nothing any more; its other side will notice that this process has ended


class _ReaderContext(ForkServerContext):
    def Queue(self, maxsize: int = 0) -> Queue:  # noqa: N802 (its name in the library)
        return _AnsweringQueue(maxsize, ctx=self.get_context())


def reader_context(preload: str) -> ForkServerContext:
    """The multiprocessing context in which reader processes are started.

    They are forked from a server, not from the training process. The training process has threads (gloo or NCCL, CUDA,
    metrics shipping), whose locks a fork would copy in whatever state they are; and it has sockets and files, which a
    forked reader would keep open after the trainer's death, so that its peers would not notice. From this call on the
    server imports `preload` in the background, once; a reader then starts in milliseconds.

    Args:
        preload: name of the module that readers need.
    """
    context = _ReaderContext()
    context.set_forkserver_preload([preload])
    # What is blocked here stays blocked in the server, and in the readers that it starts.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _FOR_THE_TRAINER)
    try:
        resource_tracker.ensure_running()  # the server needs it, and starting it unblocks two of the signals
        signal.pthread_sigmask(signal.SIG_BLOCK, _FOR_THE_TRAINER)
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    return context


def end_with_trainer(worker: int) -> None:
    """Have this reader process, which has just started, end when the trainer dies or terminates it.

    It also ends where the trainer cannot fetch what it has handed over. A thread of the library serves the trainer
    there: by itself it would report whatever goes wrong and go on, while the trainer waits.
    """
    trainer = multiprocessing.parent_process()
    assert trainer is not None, "this runs in reader processes only"
    sys.excepthook = _exit_after_error
    threading.Thread(target=_exit_after_death, args=(trainer,), daemon=True).start()
    threading.Thread(target=_exit_when_terminated, args=(trainer.pid,), daemon=True).start()


def _exit_after_error(kind: type[BaseException], error: BaseException, _) -> None:
    print(f"a process that reads ahead: {kind.__name__}: {error}", file=sys.stderr, flush=True)
    os._exit(1)


def _exit_after_death(trainer) -> None:
    # torch's own watch looks at a worker's parent: here the fork server, which lives on as long as a worker does.
    trainer.join()
    os._exit(1)


def _exit_when_terminated(trainer: int) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != trainer:
        pass
    os._exit(1)
