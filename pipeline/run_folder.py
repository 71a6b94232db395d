"""The folder of a run: what identifies it, and whether a start may begin or continue it."""

from __future__ import annotations

import json
import platform
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import yaml

from pipeline.config import Recipe, parse_recipe, resolved
from pipeline.engines.processes import Processes
from pipeline.errors import RunFailure, UsageError
from pipeline.training.checkpoint import write_whole
from pipeline.training.schedule import Schedule

CONFIG, RUN = "config.yaml", "run.json"

# A resumed run may differ in these and still train the same weights.
_FREE_KEYS = ("engine", "tracking", "cost", "checkpoint", "log_every", "data.workers", "data.prefetch", "data.shards")


def begin(recipe: Recipe, resume: bool) -> bool:
    """Make sure that the run may start; whether an earlier start of it is continued.

    Raises:
        UsageError: where the folder already holds a run and `resume` was not given, or it was trained differently.
    """
    path = recipe.folder / CONFIG
    if not path.exists():
        return False
    if not resume:
        raise UsageError(
            f"run folder {recipe.folder}: holds a run already; continue it with --resume, or choose another name=…"
        )
    earlier, now = _flat(resolved(read_recipe(recipe.folder))), _flat(resolved(recipe))
    changed = [key for key in sorted(earlier.keys() | now.keys()) if earlier.get(key) != now.get(key)]
    fixed = [key for key in changed if not key.startswith(_FREE_KEYS)]
    if fixed:
        key = fixed[0]
        raise UsageError(
            f"run folder {recipe.folder}: was begun with {key}={earlier.get(key)}, not {now.get(key)}; "
            "resume it unchanged, or choose another name=…"
        )
    return True


def describe(recipe: Recipe, schedule: Schedule, processes: Processes, dataset: str, parameters: int) -> dict[str, Any]:
    """What reports and people want to know of a run besides its recipe, as JSON values."""
    return {
        "name": recipe.name,
        "approach": recipe.approach,
        "seed": recipe.seed,
        "steps": schedule.steps,
        "steps_per_epoch": schedule.steps_per_epoch,
        "epochs": schedule.steps / schedule.steps_per_epoch,
        "batch_size": recipe.batch_size,
        "world_size": processes.world,
        "engine": recipe.engine.name,
        "dataset": dataset,
        "classes": schedule.space.classes,
        "supernet_parameters": parameters,
        "phases": [{"name": phase.name, "start": phase.start, "end": phase.end} for phase in schedule.phases],
        "versions": {"python": platform.python_version(), **{name: version(name) for name in ("torch", "deepspeed")}},
        "machine": machine(processes.device),
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def machine(device: torch.device) -> str:
    """The accelerator, or the processor and the number of threads that torch uses."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{processor()}, {torch.get_num_threads()} threads per process"


def processor() -> str:
    """The processor's own name where Linux tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def write(recipe: Recipe, description: dict[str, Any]) -> None:
    """Write `config.yaml` and `run.json`; the start time of the first start stays.

    Raises:
        RunFailure: where the folder cannot be written.
    """
    folder = recipe.folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / RUN).exists():
            description = {**description, "started": read_description(folder)["started"]}
        write_whole(folder / RUN, json.dumps(description, indent=1, ensure_ascii=False).encode())
        text = yaml.safe_dump(resolved(recipe), sort_keys=False, allow_unicode=True)
        write_whole(folder / CONFIG, text.encode())
    except OSError as error:
        raise RunFailure(f"run folder {folder}: cannot be written: {error.strerror}") from None


def read_recipe(folder: Path) -> Recipe:
    """The recipe that a run was trained with.

    Raises:
        UsageError: where `folder` is no run.
    """
    path = folder / CONFIG
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{folder}: is no run folder ({path.name}: {error.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise UsageError(f"{path}: is damaged: not YAML") from None
    return parse_recipe(content, str(path))


def read_description(folder: Path) -> dict[str, Any]:
    """What `write` wrote into `run.json`.

    Raises:
        UsageError: where `folder` is no run.
    """
    path = folder / RUN
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{folder}: is no run folder ({path.name}: {error.strerror})") from None
    except ValueError:
        raise UsageError(f"{path}: is damaged: not JSON") from None


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        leaves |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return leaves
