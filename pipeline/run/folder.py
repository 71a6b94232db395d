"""The folder of a run: what identifies it, and whether a start may begin or continue it."""

from __future__ import annotations

import hashlib
import platform
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import yaml

from data_shards.store.regular_file import read_regular
from data_shards.strict_yaml import NotYaml, parse_yaml
from pipeline.errors import UsageError
from pipeline.files.json_file import write_json
from pipeline.files.whole_file import DamagedError, write_whole
from pipeline.methods.schedule import Schedule
from pipeline.methods.work import macs_per_image
from pipeline.processes.group import Processes
from pipeline.recipe.keys import is_trained
from pipeline.recipe.reading import parse_recipe
from pipeline.recipe.recipe import Recipe, resolved
from pipeline.run.description import RunDescription, RunPhase, RunStart, read_description
from pipeline.run.layout import CONFIG, HELD, LOCK, RUN
from pipeline.run.picked_by import check_predictor, predictor_digest

_SEAL = b"# sha256 "  # begins the first line of `config.yaml`; those of earlier versions lack it
_MOST_BYTES = 1 << 20  # of a recipe

# What a start leaves that was killed, or met a full disk, before its recipe was written: nothing to go on from.
_BEFORE_IT_BEGINS = {LOCK, HELD, RUN, f".{RUN}.writing", f".{CONFIG}.writing"}


def begin(recipe: Recipe, identity: dict[str, str], resume: bool) -> None:
    """Make sure that the run may start.

    Args:
        identity: of the data set, by split.

    Raises:
        UsageError: where the folder holds something and `resume` was not given, or the earlier start was different.
    """
    folder = recipe.folder
    try:
        if not folder.exists() or {path.name for path in folder.iterdir()} <= _BEFORE_IT_BEGINS:
            return
    except OSError as error:  # a file, a name that is too long, somebody else's folder
        raise UsageError(f"run folder {folder}: {error.strerror}; choose another name=…") from None
    if not resume:
        raise UsageError(f"run folder {folder}: is not empty; continue its run with --resume, or choose another name=…")
    earlier, now = leaves(read_recipe(folder)), leaves(recipe)
    for key in sorted(earlier.keys() | now.keys()):
        if is_trained(key) and earlier.get(key) != now.get(key):
            raise UsageError(
                f"run folder {folder}: was begun with {key}={earlier.get(key)}, not {now.get(key)}; "
                "resume it unchanged, or choose another name=…"
            )
    check_data(folder, identity, recipe.data.shards)
    if recipe.schedule.predictor is not None:
        check_predictor(recipe, read_description(folder).predictor)


def check_data(folder: Path, identity: dict[str, str], shards: Path) -> None:
    """Make sure that the data set is the one that the run in `folder` was begun on.

    Raises:
        UsageError: where it is another one, whatever its path.
    """
    for split, sha256 in identity.items():
        begun_on = read_description(folder).data.get(split, "")
        if begun_on != sha256:
            raise UsageError(
                f"data.shards: {shards} is not the data set that {folder} was begun on "
                f"(its {split} index is {sha256[:12]}…, not {begun_on[:12]}…)"
            )


def new_description(
    recipe: Recipe,
    schedule: Schedule,
    processes: Processes,
    identity: dict[str, str],
    kernels: str,
    start: RunStart | None = None,
) -> RunDescription:
    """What `run.json` tells of a run that starts now."""
    return RunDescription(
        name=recipe.name,
        approach=recipe.approach,
        seed=recipe.seed,
        steps=schedule.steps,
        steps_per_epoch=schedule.steps_per_epoch,
        epochs=schedule.steps / schedule.steps_per_epoch,
        batch_size=recipe.batch_size,
        world_size=processes.world,
        engine=recipe.engine.name,
        kernels=kernels,
        dataset=recipe.data.shards.name,
        data=identity,
        validation_samples=recipe.data.validation_samples,
        classes=schedule.space.classes,
        phases=tuple(
            RunPhase(
                name=phase.name,
                start=phase.start,
                end=phase.end,
                slots=phase.slot_names,
                macs_per_image=macs_per_image(phase, schedule),
            )
            for phase in schedule.phases
        ),
        versions={"python": platform.python_version(), **{name: version(name) for name in ("torch", "deepspeed")}},
        machine=machine(processes.device),
        started=datetime.now(timezone.utc).replace(microsecond=0),
        start=start,
        predictor=predictor_digest(recipe),
    )


def machine(device: torch.device) -> str:
    """The accelerator, or the processor and the number of threads that torch uses."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{processor()}, {torch.get_num_threads()} threads per process"


def processor() -> str:
    """The processor's own name where Linux tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def write(recipe: Recipe, description: RunDescription) -> None:
    """Write `config.yaml` and `run.json`; the start time of the first start stays.

    Raises:
        UsageError: where the folder cannot be written.
    """
    folder = recipe.folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / RUN).exists():
            description = description.model_copy(update={"started": read_description(folder).started})
        write_json(folder / RUN, description.model_dump(mode="json"))
        text = yaml.safe_dump(resolved(recipe), sort_keys=False, allow_unicode=True)
        write_whole(folder / CONFIG, _sealed(text.encode()))
    except OSError as error:
        raise UsageError(f"run folder {folder}: cannot be written: {error.strerror}; choose another runs=…") from None


def read_recipe(folder: Path) -> Recipe:
    """The recipe that a run was trained with.

    Raises:
        UsageError: where `folder` is no run, or its recipe is damaged.
    """
    return parse_recipe(read_config(folder), str(folder / CONFIG))


def read_config(folder: Path) -> dict[str, Any]:
    """The keys of a run's recipe as they were written; those of an earlier version may be other ones than today's.

    Raises:
        UsageError: where `folder` is no run, or its recipe is damaged.
    """
    path = folder / CONFIG
    try:
        content = parse_yaml(_unsealed(read_regular(path, _MOST_BYTES)).decode())
        if isinstance(content, dict):
            return content
        reason = "not a recipe"
    except OSError as error:
        raise UsageError(f"{folder}: is no run folder ({path}: {error.strerror})") from None
    except UnicodeDecodeError:
        reason = "not a text file"
    except (DamagedError, NotYaml) as damage:
        reason = str(damage)
    raise UsageError(f"{path}: is damaged: {reason}")


def _sealed(text: bytes) -> bytes:
    digest = hashlib.sha256(text).hexdigest().encode()
    return _SEAL + digest + b" of the lines below; whoever changes one on purpose, takes this one out\n" + text


def _unsealed(content: bytes) -> bytes:
    first, _, text = content.partition(b"\n")
    if first.startswith(_SEAL) and content != _sealed(text):
        raise DamagedError("its lines are not those of the SHA-256 in the first one; it says what to do")
    return content


def leaves(recipe: Recipe) -> dict[str, Any]:
    """The resolved recipe's values by dotted key."""
    return _flat(resolved(recipe))


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat
