"""The processes of a run: rank, world size, device, and the process group that a launcher asked for."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar, cast

import torch
import torch.distributed as dist

from data_shards.errors import ReaderLost, ShardDamage, ShardUsageError
from pipeline.errors import PeerFailure, RunFailure, UsageError
from pipeline.processes.environment import place
from pipeline.processes.liveness import Liveness

# Of a collective operation. Losses are noticed much earlier, by `Liveness`.
_TIMEOUT = timedelta(minutes=10)

# What one process meets and all leave for.
FAILURES = (UsageError, ShardUsageError, RunFailure, ShardDamage, ReaderLost, OSError)

Result = TypeVar("Result")
Value = TypeVar("Value")


@dataclass(frozen=True)
class Processes:
    """This process among those of the run."""

    rank: int
    world: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def highest(self, values: Sequence[int]) -> list[int]:
        """Element-wise maximum of `values` over all processes; every one must call it. Never waits for the device."""
        if self.world == 1:
            return list(values)
        agreed = torch.tensor(values)
        dist.all_reduce(agreed, dist.ReduceOp.MAX, group=_host_group())
        return agreed.tolist()

    def barrier(self) -> None:
        """Wait until every process is here."""
        self.highest([0])

    def together(self, work: Callable[[], Result]) -> Result:
        """Do `work` here; if it fails on any process, it fails on all of them, and none is left waiting.

        What is no user's mistake is told once: where all meet the same damage, the first of them has it to tell.

        Raises:
            The failure, on the first process that met one; PeerFailure on the others. A user's mistake is raised by
            all that met it, who leave with its exit code; where the main process, which would tell it, did not meet it,
            by the first that did as a RunFailure that names machine and process.
        """
        return self.together_telling(work, list)[0]

    def on_main(self, work: Callable[[], object]) -> None:
        """Have the main process do `work` for all; where that fails, all fail as in `together`."""
        self.together(work if self.is_main else lambda: None)

    def together_telling(
        self, work: Callable[[], Result], figures: Callable[[], Sequence[int]]
    ) -> tuple[Result, list[int]]:
        """`together`, and in the same agreement the `highest` of each of the `figures` as they are after `work`."""
        result, failure = None, None
        try:
            result = work()
        except FAILURES as error:
            failure = error
        first, *highest = self.highest([self._precedence if failure else 0, *figures()])
        if first:
            raise self._what_to_tell(failure, first)
        return cast("Result", result), highest

    @property
    def _precedence(self) -> int:
        """The higher, the earlier the process: of failures, that of the first one is told."""
        return self.world - self.rank

    def _what_to_tell(self, failure: Exception | None, first: int) -> Exception:
        """What to raise where a process failed, `first` being the precedence of the first one, `failure` our own."""
        mistake = isinstance(failure, UsageError | ShardUsageError)
        if mistake and first == self._precedence and not self.is_main:
            return RunFailure(f"process {self.rank} on {socket.gethostname()}: {failure}")
        if failure and (first == self._precedence or mistake):
            return failure
        return PeerFailure("another process failed; its message says why")

    def total(self, values: list[float]) -> list[float]:
        """Element-wise sum of `values` over all processes, in float64."""
        if self.world == 1:
            return values
        summed = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(summed, group=_host_group())
        return summed.tolist()

    def gathered(self, values: list[Value]) -> list[Value]:
        """The `values` of all processes, by rank; any that can be pickled."""
        if self.world == 1:
            return values
        every: list[list[Value]] = [[] for _ in range(self.world)]
        dist.all_gather_object(every, values, group=_host_group())
        return [value for part in every for value in part]


_groups: dict[str, dist.ProcessGroup] = {}


def _host_group() -> dist.ProcessGroup:
    """A gloo group for small agreements between hosts, apart from the gradients' group."""
    if "host" not in _groups:
        group = dist.new_group(backend="gloo")
        assert isinstance(group, dist.ProcessGroup)  # of all processes, so this one is a member
        _groups["host"] = group
    return _groups["host"]


@contextmanager
def launched_processes(lost_after: float = 60) -> Iterator[Processes]:
    """Join the process group that the launcher's environment describes; a plain start is a group of one.

    Args:
        lost_after: seconds without a sign of life after which another process is given up.

    Raises:
        UsageError: where the environment is wrong or incomplete.
        RunFailure: where the processes cannot meet, or another one was lost; PeerFailure where another one tells of it.
    """
    rank, world, local = place()
    if torch.cuda.is_available() and local >= torch.cuda.device_count():
        # Raised by these processes only, so that each tells of it.
        raise RunFailure(f"LOCAL_RANK={local}: {socket.gethostname()} has {torch.cuda.device_count()} GPUs")
    device = torch.device("cuda", local) if torch.cuda.is_available() else torch.device("cpu")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if world == 1:
        # DeepSpeed wants a group even of one; its port is the system's choice.
        store = dist.HashStore()
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", store=store, rank=0, world_size=1)
    else:
        store = _meeting_point()
        dist.init_process_group(
            "nccl" if device.type == "cuda" else "gloo", store=store, rank=rank, world_size=world, timeout=_TIMEOUT
        )
    liveness = Liveness(store, rank, world, socket.gethostname(), lost_after)
    try:
        yield Processes(rank, world, device)
    except RuntimeError as error:
        _tell_of_the_lost(liveness, error)
        raise
    finally:
        liveness.stop()
        _groups.clear()
        dist.destroy_process_group()


def _meeting_point() -> dist.Store:
    """The store at MASTER_ADDR and MASTER_PORT, which the first process keeps."""
    try:
        return next(dist.rendezvous("env://", timeout=_TIMEOUT))[0]
    except RuntimeError as error:
        where = f"MASTER_ADDR={os.environ['MASTER_ADDR']}, MASTER_PORT={os.environ['MASTER_PORT']}"
        raise RunFailure(f"{where}: the processes cannot meet there: {error}") from None


def _tell_of_the_lost(liveness: Liveness, error: RuntimeError) -> None:
    """Raise what to tell where `error` comes of the loss of another process."""
    if isinstance(error, FAILURES) or (lost := liveness.blame()) is None:
        return
    failure = RunFailure(lost) if liveness.tells() else PeerFailure(lost)
    liveness.part()
    raise failure from error
