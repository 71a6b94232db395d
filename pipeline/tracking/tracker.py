"""What the trainer talks to: figures and files go in, and come out in the run folder and in MLflow."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from pipeline.run.layout import METRICS
from pipeline.tracking.metrics import MetricsLog
from pipeline.tracking.mlflow import MlflowShipper, Status, TrackingConfig


class Tracking(Protocol):
    """Takes what a run measures; see `Tracker`, which the main process has, and `NoTracker`."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None: ...

    def sync(self) -> None: ...

    def log_artifact(self, path: Path, folder: str | None = None) -> None: ...

    def close(self, status: Status, timeout: float = 60) -> bool: ...


class Tracker:
    """Tracks one run, on its main process.

    Args:
        run_folder: gets `metrics.jsonl` (and MLflow's bookkeeping).
        config: whether and where MLflow is used.
        run_name: what MLflow calls the run.
        params: the resolved recipe, nested or flat.
        tags: text by name.
    """

    def __init__(
        self,
        run_folder: Path,
        config: TrackingConfig,
        run_name: str,
        params: Mapping[str, Any],
        tags: Mapping[str, str],
    ) -> None:
        self._metrics = MetricsLog(run_folder / METRICS)
        self._shipper = MlflowShipper(run_folder, config, run_name, params, tags) if config.mlflow else None

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Append the figures measured at `step`: some ten microseconds, and never a wait for a server."""
        self._metrics.log(step, metrics)

    def sync(self) -> None:
        """Have the figures so far outlive the machine as well, as a checkpoint does that comes after them."""
        self._metrics.sync()

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Have a file or folder copied to MLflow in the background."""
        if self._shipper is not None:
            self._shipper.log_artifact(path, folder)

    def close(self, status: Status, timeout: float = 60) -> bool:
        """End the run with `status`; whether MLflow (if used) has all of it after at most `timeout` seconds."""
        self._metrics.close()
        return self._shipper is None or self._shipper.close(status, timeout)


class NoTracker:
    """Of the other processes: does nothing."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None: ...

    def sync(self) -> None: ...

    def log_artifact(self, path: Path, folder: str | None = None) -> None: ...

    def close(self, status: Status, timeout: float = 60) -> bool:
        return True
