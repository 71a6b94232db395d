"""Exit codes, and failures told in one line: 2 for what the user can set right, 1 for what went wrong while running."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from data_shards.errors import ReaderLost, ShardDamage, ShardUsageError
from data_shards.one_line import one_line, shown
from pipeline.console.terminal import prepare_streams, silence_streams
from pipeline.errors import PeerFailure, RunFailure, UsageError
from pipeline.processes.environment import has_a_spokesman


@contextmanager
def one_line_errors(program: str) -> Iterator[None]:
    """Turn known failures inside into one line on the error stream and an exit code.

    What every process of a run meets alike is told by the first one only. Warnings are lines of their own. Where
    nobody reads the output any more, the program ends as one that the signal SIGPIPE would have ended.
    """
    prepare_streams()
    warnings = logging.StreamHandler()
    warnings.setFormatter(_OneLine())
    logging.basicConfig(handlers=[warnings], level=logging.WARNING)
    try:
        with _told(program):
            try:
                yield
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
    except (BrokenPipeError, SystemExit) as end:
        # typer and rich meet a broken pipe, too, and leave with 1.
        if isinstance(end, BrokenPipeError) or isinstance(end.__context__, BrokenPipeError):
            silence_streams()
            sys.exit(128 + signal.SIGPIPE)
        raise


@contextmanager
def _told(program: str) -> Iterator[None]:
    def tell(text: object) -> None:
        print(one_line(f"{program}: {text}"), file=sys.stderr, flush=True)

    try:
        yield
    except (UsageError, ShardUsageError) as error:
        if not has_a_spokesman():
            tell(error)
        sys.exit(2)
    except UnicodeEncodeError as error:  # not of the streams, which take everything
        tell(
            f"{shown(error.object)}: cannot be written in {error.encoding}, which names of files are in here; "
            "see that the locale is one of UTF-8, or set PYTHONUTF8=1"
        )
        sys.exit(2)
    except PeerFailure:
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except BrokenPipeError:
        raise
    except OSError as error:
        tell(f"{error.filename}: {error.strerror}" if error.filename is not None else error.strerror or error)
        silence_streams()  # where the output itself cannot be written, it would fail at the end again
        sys.exit(1)
    except (RunFailure, ShardDamage, ReaderLost) as error:
        tell(error)
        sys.exit(1)


class _OneLine(logging.Formatter):
    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (logging's name)
        return one_line(record.message)


def exit_code(stopped: signal.Signals | None) -> int:
    """0 at the end of training; 128 + the signal's number, as shells do, where it was stopped before."""
    return 128 + stopped if stopped else 0
