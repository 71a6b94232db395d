"""How much of a training's time goes by waiting for data: a short run of `deps train`, from its ledger and metrics."""

from __future__ import annotations

import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from data_shards.packing.pack import pack
from data_shards.sources.digits100 import Digits100
from pipeline.errors import RunFailure
from pipeline.run.layout import LEDGER, METRICS
from pipeline.tracking.ledger import read_ledger
from pipeline.tracking.metrics import read_metrics

RECIPE = Path(__file__).parents[3] / "recipes" / "digits100_deps.yaml"

_BATCH, _SIDE = 64, 32  # pixels
_EPOCHS = 4  # that the steps come to
_NOT_TRAINING = {"evaluation", "checkpoint"}


class TrainingWait(NamedTuple):
    """How long a run waited for data.

    Attributes:
        steps: of the run.
        training_seconds: of its steps, with their waits.
        waited_seconds: of the waits.
        wait_fraction: of the whole run, with the start of the reader.
        wait_fraction_later: the median of what the run logs as data/wait_fraction after its first log line.
    """

    steps: int
    training_seconds: float
    waited_seconds: float
    wait_fraction: float
    wait_fraction_later: float


def measure_wait(root: Path, steps: int) -> dict[str, Any]:
    """A row: `status`, and the figures of `training_wait` where the recipe is there, which is not installed."""
    if not RECIPE.exists():
        return {"status": f"left out: there is no recipes/{RECIPE.name} beside the packages"}
    return {"status": "ok", **training_wait(root, steps)._asdict()}


def training_wait(root: Path, steps: int) -> TrainingWait:
    """Train digits100 by its recipe below `root` for `steps` steps: half of them the full model alone, then DεpS.

    Raises:
        RunFailure: where the training fails.
    """
    samples = max(_BATCH * steps // _EPOCHS, 10 * _BATCH)
    shards = root / "digits100"
    pack(Digits100(train=samples, test=100), shards)
    log_every = max(steps // 10, 1)
    overrides = [
        "name=wait",
        f"runs={root / 'runs'}",
        f"data.shards={shards}",
        f"train_samples={samples}",
        f"batch_size={_BATCH}",
        f"space.resolutions=[{_SIDE}]",
        "engine={name: single}",
        f"log_every={log_every} steps",
        f"schedule.duration={steps} steps",
        f"schedule.epsilon_ramp={max(steps // 8, 1)} steps",
        f"schedule.learning_rate.warmup={max(steps // 10, 1)} steps",
        f"evaluation.every={steps} steps",
        f"evaluation.full_when_shrinking={steps} steps",
        f"checkpoint.every={steps} steps",
        "tracking.mlflow=false",
    ]
    command = [sys.executable, "-c", "import deps_command; deps_command.main()", "train", str(RECIPE), *overrides]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["killed"])[-1]
        raise RunFailure(f"training for data wait: it ended with {done.returncode}: {last}")
    return _read(root / "runs" / "wait", steps)


def _read(run: Path, steps: int) -> TrainingWait:
    (segment,) = read_ledger(run / LEDGER).segments
    training = sum(seconds for name, seconds in segment.seconds.items() if name not in _NOT_TRAINING)
    waited = segment.seconds["data_wait"]
    logged = read_metrics(run / METRICS)["data/wait_fraction"].values.tolist()
    return TrainingWait(steps, training, waited, waited / training, statistics.median(logged[1:] or logged))
