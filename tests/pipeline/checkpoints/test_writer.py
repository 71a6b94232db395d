"""Checkpoints are written beside the training: in order, whole, in bounded time; and no failure gets lost."""

import threading
import time

import pytest

from pipeline.checkpoints.writer import CheckpointWriter
from pipeline.errors import RunFailure


class Write:
    """A write that waits to be let go, and then notes that it is done, or fails."""

    def __init__(self, done: list[str], name: str, failure: Exception | None = None) -> None:
        self.done, self.name, self.failure = done, name, failure
        self.go = threading.Event()

    def __call__(self) -> None:
        self.go.wait(900)
        if self.failure is not None:
            raise self.failure
        self.done.append(self.name)


def test_training_goes_on_while_one_is_written_and_the_next_waits_for_it() -> None:
    done: list[str] = []
    first, second = Write(done, "first"), Write(done, "second")
    with CheckpointWriter(60) as writer:
        writer.begin(first)
        assert done == []  # it is under way, and nobody waits
        threading.Timer(0.2, first.go.set).start()
        writer.begin(second)
        assert done == ["first"]
        second.go.set()
        writer.finish()
        assert done == ["first", "second"]


def test_leaving_waits_for_the_last_one_also_when_something_else_went_wrong() -> None:
    done: list[str] = []
    write = Write(done, "last")

    def train() -> None:
        with CheckpointWriter(60) as writer:
            writer.begin(write)
            threading.Timer(0.2, write.go.set).start()
            raise KeyError

    with pytest.raises(KeyError):
        train()
    assert done == ["last"]


@pytest.mark.parametrize("asks", ["finish", "begin"])
def test_a_failure_is_raised_by_the_next_that_asks_and_once(asks: str) -> None:
    failing = Write([], "failing", RunFailure("checkpoint x: cannot be written: No space left on device"))
    failing.go.set()
    with CheckpointWriter(60) as writer:
        writer.begin(failing)
        deadline = time.monotonic() + 900
        while not writer.failed and time.monotonic() < deadline:
            time.sleep(0.001)
        with pytest.raises(RunFailure, match="No space left on device"):
            getattr(writer, asks)(*([lambda: None] if asks == "begin" else []))
        assert not writer.failed
        writer.finish()


def test_a_write_that_never_ends_is_a_failure_and_holds_nobody_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    stuck = Write([], "stuck")
    waits: list[float | None] = []
    join = threading.Thread.join

    def counted(thread: threading.Thread, timeout: float | None = None) -> None:
        waits.append(timeout)
        join(thread, timeout)

    monkeypatch.setattr(threading.Thread, "join", counted)
    with CheckpointWriter(0.05) as writer:
        writer.begin(stuck)
        with pytest.raises(RunFailure, match=r"writing one takes more than 0.05 s; .* \(checkpoint.timeout\)"):
            writer.finish()
    assert waits == [0.05], "once more on leaving"
    stuck.go.set()
