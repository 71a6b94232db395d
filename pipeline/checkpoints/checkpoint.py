"""Checkpoints: the unsharded training state in one safetensors file, named whole by a sidecar with its checksum.

`checkpoints/step-000000123.safetensors` is written beside and renamed, then `step-000000123.json` (counters,
bytes, SHA-256, and a checksum over all of these, which thereby covers both files): the newest sidecar is the pointer to
the newest whole checkpoint. A file without a sidecar was never finished. One that holds something else than was
written, or what cannot be of this run, is damaged, and the one before it is taken.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator
from safetensors import SafetensorError
from safetensors.torch import load, save

from pipeline.duration import Duration
from pipeline.engines.protocol import TrainingState
from pipeline.errors import RunFailure, UsageError
from pipeline.files.json_file import checked, read_json, write_json
from pipeline.files.whole_file import DamagedError, Digest, read_whole, write_whole
from pipeline.run.layout import CHECKPOINTS

_NAME = f"step-{'[0-9]' * 9}"  # others in the folder are somebody's own, and left alone


class CheckpointConfig(BaseModel):
    """The recipe's `checkpoint`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    every: Duration = "1 epochs"
    keep: int = Field(default=2, ge=1, description="newest ones that stay on disk")
    keep_best: bool = Field(default=True, description="and the one with the best held-out accuracy")
    timeout: float = Field(default=600, gt=0, description="seconds that writing one may take")
    roll_backs: int = Field(
        default=0,
        ge=0,
        description="times that a run may take up its newest one after a loss that is not finite, and pass over the "
        "steps since",
    )


@dataclass
class Counters:
    """How far a run is, counted: all that a checkpoint holds of it besides the engine's state.

    Attributes:
        step: optimizer steps done.
        entered: how many of the phases that change the state on being entered have done so.
        roll_backs: how often it has gone back to a checkpoint.
        passed_over: how many of the steps done have no part in the weights, as the run went back past them.
    """

    step: int = 0
    entered: int = 0
    roll_backs: int = 0
    passed_over: int = 0


@dataclass(frozen=True)
class Checkpoint:
    """A run as it was at a step.

    Attributes:
        ledger: the cost so far, as the ledger's own record.
        accuracy: held-out top-1 in per cent, mean over what the run is measured by; None if not evaluated.
    """

    counters: Counters
    state: TrainingState
    ledger: dict[str, Any]
    accuracy: float | None = None

    @property
    def step(self) -> int:
        return self.counters.step


def save_checkpoint(run_folder: Path, checkpoint: Checkpoint, keep: int, keep_best: bool = False) -> Path:
    """Write a whole checkpoint or none, and remove all but the newest `keep` and, with `keep_best`, the best one.

    Raises:
        RunFailure: where it cannot be written; the checkpoints before it stay.
    """
    return prepare_checkpoint(run_folder, checkpoint, keep, keep_best)()


def prepare_checkpoint(
    run_folder: Path, checkpoint: Checkpoint, keep: int, keep_best: bool = False
) -> Callable[[], Path]:
    """What `save_checkpoint` does, to be called at any time: the state is copied now, and may change from here on."""
    folder = run_folder / CHECKPOINTS
    path = folder / f"step-{checkpoint.step:09d}.safetensors"
    tensors = {f"weights/{name}": tensor.contiguous() for name, tensor in checkpoint.state.weights.items()}
    tensors |= {f"momentum/{name}": tensor.contiguous() for name, tensor in checkpoint.state.momentum.items()}
    tensors |= {f"teacher/{name}": tensor.contiguous() for name, tensor in (checkpoint.state.teacher or {}).items()}
    content, counters = save(tensors), asdict(checkpoint.counters)

    def write() -> Path:
        sidecar = _Sidecar(
            **counters, **Digest.of(content)._asdict(), ledger=checkpoint.ledger, accuracy=checkpoint.accuracy
        )
        _write(folder, path, content, sidecar, keep, keep_best)
        return path

    return write


def _write(folder: Path, path: Path, content: bytes, sidecar: _Sidecar, keep: int, keep_best: bool) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)
        write_json(path.with_suffix(".json"), sidecar.model_dump())
        _tidy(folder, path.with_suffix(".json"), keep, keep_best)
    except OSError as error:
        raise RunFailure(f"checkpoint {path}: cannot be written: {error.strerror}") from None


# Says why a checkpoint, whole as it is, cannot be of a run; None where it can. See `belonging.py`.
Misfit = Callable[[Checkpoint], str | None]


def of_any_run(checkpoint: Checkpoint) -> None:
    """The misfit that no checkpoint has: for those who know no schedule."""


def load_best_checkpoint(run_folder: Path, warnings: list[str], misfit: Misfit = of_any_run) -> Checkpoint:
    """The checkpoint with the best held-out accuracy.

    Args:
        warnings: gets a line for each that does not tell its accuracy any more, as it is damaged or was not finished.

    Raises:
        UsageError: where none was evaluated. RunFailure: where it is damaged, or none tells its accuracy any more.
    """
    best = _best(_newest_first(run_folder / CHECKPOINTS), damaged := [])
    if best is None and damaged:
        raise RunFailure(f"{_few(damaged)}; leave out --best to take the newest")
    warnings += [*damaged, *_unfinished(run_folder / CHECKPOINTS, -1)]
    if best is None:
        raise UsageError(f"{run_folder}: no checkpoint of it was evaluated; leave out --best to take the newest")
    try:
        return _load(best, misfit)
    except _DamagedCheckpointError as damage:
        raise RunFailure(f"{damage}; leave out --best to take the newest") from None


def load_newest_checkpoint(run_folder: Path, warnings: list[str], misfit: Misfit = of_any_run) -> Checkpoint | None:
    """The newest whole checkpoint; None where none was ever written.

    Args:
        warnings: gets a line for each newer one that was passed over: damaged ones, and the one that a kill left
            without its sidecar.

    Raises:
        RunFailure: where there are checkpoints, but none is whole.
    """
    damaged: list[str] = []
    newest: Checkpoint | None = None
    for sidecar_path in _newest_first(run_folder / CHECKPOINTS):
        try:
            newest = _load(sidecar_path, misfit)
            break
        except _DamagedCheckpointError as damage:
            damaged.append(str(damage))
    if newest is None and damaged:
        raise RunFailure(f"no checkpoint is whole: {_few(damaged)}; start again under another name=…")
    instead = "there is none before it" if newest is None else f"taking step {newest.step} instead"
    unfinished = _unfinished(run_folder / CHECKPOINTS, -1 if newest is None else newest.step)
    warnings += [f"{line}; {instead}" for line in (*damaged, *unfinished)]
    return newest


def _few(lines: list[str]) -> str:
    return "; ".join(lines[:2]) + (f"; and {len(lines) - 2} more" if len(lines) > 2 else "")


def _unfinished(folder: Path, step: int) -> list[str]:
    """A line on each file of tensors after `step` whose sidecar is not there."""
    return [
        f"checkpoint {path} is not finished: {path.with_suffix('.json').name} is not there (yet)"
        for path in sorted(folder.glob(f"{_NAME}.safetensors"))
        if _step(path) > step and not path.with_suffix(".json").exists()
    ]


def newest_step(run_folder: Path) -> int:
    """The step of the newest checkpoint by its name, whole or not; 0 without any."""
    return max(map(_step, _newest_first(run_folder / CHECKPOINTS)), default=0)


def remove_newer(run_folder: Path, step: int) -> None:
    """Remove what was passed over as damaged on the way back to `step`, where the run goes on behind it.

    Between that step and those to come it would count among the newest, and crowd out whole ones.
    """
    for sidecar_path in _newest_first(run_folder / CHECKPOINTS):
        if _step(sidecar_path) > step:
            sidecar_path.unlink()
            sidecar_path.with_suffix(".safetensors").unlink(missing_ok=True)


class _Sidecar(BaseModel):
    """`step-*.json`: what makes a checkpoint whole."""

    model_config = ConfigDict(extra="forbid", strict=True)

    step: int = Field(ge=0)
    entered: int = Field(ge=0)
    bytes: int
    sha256: str
    roll_backs: int = Field(default=0, ge=0)
    passed_over: int = Field(default=0, ge=0)
    ledger: dict[str, Any]
    accuracy: float | None = None

    @model_validator(mode="before")
    @classmethod
    def _of_before(cls, content: Any) -> Any:
        """Earlier versions said whether channels were sorted, which was all that a phase could do on being entered."""
        if isinstance(content, dict) and isinstance(content.get("reorganised"), bool) and "entered" not in content:
            content = {**content, "entered": int(content["reorganised"])}
            del content["reorganised"]
        return content


class _DamagedCheckpointError(Exception):
    """The message names the file."""

    def __init__(self, path: Path, error: OSError | DamagedError | SafetensorError) -> None:
        cannot = f"cannot be read: {error.strerror}" if isinstance(error, OSError) else f"is damaged: {error}"
        super().__init__(f"checkpoint {path} {cannot}")


def _tidy(folder: Path, current: Path, keep: int, keep_best: bool) -> None:
    """Remove all but the `keep` newest and the best; newer ones than `current`, passed over as damaged; unfinished
    files."""
    sidecars = _newest_first(folder)
    known = [path for path in sidecars if path <= current]
    kept = {*known[:keep], *([_best(known, [])] if keep_best else [])}
    for old in set(sidecars) - kept:
        old.unlink()
    for path in [*folder.glob(f"{_NAME}.safetensors"), *folder.glob(f".{_NAME}.*.writing")]:
        if not path.with_suffix(".json").exists():
            path.unlink()


def _best(newest_first: Iterable[Path], warnings: list[str]) -> Path | None:
    """The sidecar with the highest accuracy, of equal ones the newest; None where none tells of any."""
    best, highest = None, -math.inf
    for path in newest_first:
        try:
            accuracy = _sidecar(path).accuracy
        except _DamagedCheckpointError as damage:
            warnings.append(f"{damage}; whether it is the best one cannot be told")
            continue
        if accuracy is not None and accuracy > highest:
            best, highest = path, accuracy
    return best


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"{_NAME}.json"), reverse=True)


def _step(path: Path) -> int:
    return int(path.stem.removeprefix("step-"))


def _sidecar(path: Path) -> _Sidecar:
    try:
        sidecar = checked(read_json(path), TypeAdapter(_Sidecar))
        if sidecar.step != _step(path):
            raise DamagedError(f"it tells of step {sidecar.step}")
        return sidecar
    except (OSError, DamagedError) as error:
        raise _DamagedCheckpointError(path, error) from None


def _load(sidecar_path: Path, misfit: Misfit) -> Checkpoint:
    sidecar, path = _sidecar(sidecar_path), sidecar_path.with_suffix(".safetensors")
    try:
        tensors = load(read_whole(path, Digest(sidecar.bytes, sidecar.sha256)))
        checkpoint = Checkpoint(
            counters=Counters(sidecar.step, sidecar.entered, sidecar.roll_backs, sidecar.passed_over),
            state=TrainingState(
                dict(_part(tensors, "weights/")),
                dict(_part(tensors, "momentum/")),
                dict(_part(tensors, "teacher/")) or None,
            ),
            ledger=sidecar.ledger,
            accuracy=sidecar.accuracy,
        )
        if reason := misfit(checkpoint):
            raise DamagedError(f"{reason}; or it is of another run")
        return checkpoint
    except (OSError, DamagedError, SafetensorError) as error:
        raise _DamagedCheckpointError(path, error) from None


def _part(tensors: dict[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, tensor in tensors.items():
        if name.startswith(prefix):
            yield name.removeprefix(prefix), tensor
