"""How the processes that read ahead are started, and when they end: when the training process does, not before."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from multiprocessing import forkserver, resource_tracker

# Sent to whole process groups by terminals, launchers and SLURM, and meant for the training process: it decides what
# to do, typically to save and leave, and needs its readers while it does.
_FOR_THE_TRAINER = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2}


def reader_context(preload: str):
    """The multiprocessing context for reader processes; `preload` is the module that they need.

    They come from a fork server, not from the training process. That one has threads (gloo or NCCL, CUDA, metrics
    shipping), whose locks a fork would copy in whatever state they are, and sockets and files, which a forked reader
    would hold open after the trainer's death, so that its peers would not notice. The server imports `preload` once,
    in the background, from this call on; a reader then starts in milliseconds.
    """
    context = multiprocessing.get_context("forkserver")
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
    """Called in a reader process when it starts: lets it end when the trainer dies, or terminates it, but only then."""
    trainer = multiprocessing.parent_process()
    assert trainer is not None, "this runs in reader processes only"
    threading.Thread(target=_exit_after_death, args=(trainer,), daemon=True).start()
    threading.Thread(target=_exit_when_terminated, args=(trainer.pid,), daemon=True).start()


def _exit_after_death(trainer) -> None:
    # torch's own watch looks at a worker's parent: here the fork server, which lives on as long as a worker does.
    trainer.join()
    os._exit(1)


def _exit_when_terminated(trainer: int) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != trainer:
        pass
    os._exit(1)
