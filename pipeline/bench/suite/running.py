"""Runs parts one after the other, each with all that it starts, and none longer than its limit."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from data_shards.one_line import one_line
from pipeline.bench.suite.part import Outcome, Part

_LAST_BYTES = 4096  # of an error stream, in which its last line is


def run_parts(parts: Sequence[Part], folder: Path, within: Path) -> Iterator[tuple[Part, Outcome]]:
    """Run each part, whatever became of those before; but of what it needs, as soon as it has ended.

    Args:
        folder: of results, an absolute path.
        within: the folder in which commands run.
    """
    passed: set[str] = set()
    for part in parts:
        lack = f"{part.needs} did not pass" if part.needs and part.needs not in passed else part.lacks()
        outcome = Outcome("skipped", why=lack) if lack else _run(part, folder, within)
        if outcome.status == "passed":
            passed.add(part.name)
        yield part, outcome


def _run(part: Part, folder: Path, within: Path) -> Outcome:
    log = folder / part.log
    began = time.monotonic()
    with (folder / part.output).open("wb") as output, log.open("wb") as errors:
        process = subprocess.Popen(
            part.command, cwd=within, stdin=subprocess.DEVNULL, stdout=output, stderr=errors, start_new_session=True
        )
        try:
            code = process.wait(part.limit)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            _kill(process)
    seconds = time.monotonic() - began
    if code is None:
        return Outcome("timed out", seconds, f"killed after {part.limit:g} s", _found(part, folder))
    if code:
        ended = f"ended by signal {-code}" if code < 0 else f"exit code {code}"
        return Outcome("failed", seconds, ": ".join(filter(None, [ended, _last_line(log)])), _found(part, folder))
    found = _found(part, folder)
    return Outcome("passed", seconds, found=found) if found else Outcome("failed", seconds, "left no figures")


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a command and what it has started: its group, of which some may be left when it has ended, and what has
    groups of their own, as programs under launchers have."""
    started: list[psutil.Process] = []
    with suppress(psutil.Error):
        started = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    for each in started:
        with suppress(psutil.Error):
            each.kill()
    process.wait()


def _found(part: Part, folder: Path) -> Sequence[str]:
    """What there is to tell; nothing of a part that ended before it wrote it."""
    try:
        return part.told(folder)
    except (OSError, ValueError):
        return ()


def _last_line(log: Path) -> str:
    lines = log.read_bytes()[-_LAST_BYTES:].decode("utf-8", errors="replace").split("\n")
    return one_line(next((line for line in reversed(lines) if line.strip()), ""))
