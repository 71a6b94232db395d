"""Exit codes, and failures told in one line: 2 for what the user can set right, 1 for what went wrong while running."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from data_shards.errors import ReaderLost, ShardDamage, ShardUsageError
from pipeline.errors import PeerFailure, RunFailure, UsageError


@contextmanager
def one_line_errors(program: str) -> Iterator[None]:
    """Turn known failures inside into one line on the error stream and an exit code.

    What every process of a run meets alike is told by the first one only.
    """
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    try:
        yield
    except (UsageError, ShardUsageError) as error:
        if os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0")) == "0":
            print(f"{program}: {error}", file=sys.stderr, flush=True)
        sys.exit(2)
    except PeerFailure:
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except OSError as error:
        if error.filename is None:
            raise
        print(f"{program}: {error.filename}: {error.strerror}", file=sys.stderr, flush=True)
        sys.exit(1)
    except (RunFailure, ShardDamage, ReaderLost) as error:
        print(f"{program}: {error}", file=sys.stderr, flush=True)
        sys.exit(1)


def exit_code(stopped: signal.Signals | None) -> int:
    """0 at the end of training; 128 + the signal's number, as shells do, where it was stopped before."""
    return 128 + stopped if stopped else 0
