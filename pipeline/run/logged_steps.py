"""How far a run's figures must reach, by what else is in its folder: what tells that `metrics.jsonl` lost its end."""

from __future__ import annotations

from pathlib import Path

from pipeline.checkpoints.checkpoint import newest_step
from pipeline.supernet.store import is_saved
from pipeline.tracking.ledger import LedgerRecord


def logged_steps(folder: Path, steps: int, ledger: LedgerRecord | None) -> int:
    """The step up to which figures were logged at least: ledger and checkpoint are written after their step's row.

    Args:
        steps: of the whole run, which one that has written its weights has done.

    Raises:
        RunFailure: where the run's weights cannot be what it wrote.
    """
    return steps if is_saved(folder) else max(newest_step(folder), ledger.step if ledger else 0)
