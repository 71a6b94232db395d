"""`deps submit`: recipes become a job folder, and the folder a job in SLURM's queue."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

from cluster import slurm
from cluster.job_folder import SCRIPT, JobRecord, new_folder, records, remove, write_folder
from cluster.resources import Resources, seconds
from cluster.script import Start, render
from pipeline.errors import RunFailure, UsageError
from pipeline.recipe.reading import load_recipe
from pipeline.recipe.recipe import Recipe, anchored, written_folders


def recipes_of(arguments: Sequence[str], seeds: str | None) -> list[Recipe]:
    """The recipes of a command line: each file, with every `key=value`, once for each seed.

    Raises:
        UsageError: for what no run can be made of, or when two runs would have one name.
    """
    files = [Path(argument) for argument in arguments if "=" not in argument or Path(argument).is_file()]
    overrides = [argument for argument in arguments if "=" in argument and not Path(argument).is_file()]
    if not files:
        raise UsageError("submit: needs a recipe, see recipes/")
    recipes = []
    for file in files:
        if seeds is None:
            recipes.append(anchored(load_recipe(file, overrides)))
            continue
        name = load_recipe(file, overrides).name
        for seed in _seeds(seeds):
            recipes.append(anchored(load_recipe(file, [*overrides, f"seed={seed}", f"name={name}-{seed}"])))
    folders = [recipe.folder.resolve() for recipe in recipes]
    for folder in folders:
        if folders.count(folder) > 1:
            raise UsageError(f"run folder {folder}: is that of two recipes; they need different names, or --seeds")
    return recipes


def check(recipe: Recipe, resources: Resources, resume: bool, in_container: bool) -> None:
    """Make sure that the run can start on these processes, as far as it can be told here.

    Raises:
        UsageError: as training would.
    """
    if recipe.batch_size % resources.processes:
        raise UsageError(
            f"batch_size: {recipe.batch_size} cannot be split over {resources.processes} processes "
            f"({resources.nodes} nodes × {resources.processes_per_node})"
        )
    recipe.engine.check_processes(resources.processes)
    if not in_container and not recipe.data.shards.is_dir():
        raise UsageError(f"data.shards: {recipe.data.shards} is no folder; pack the data first: deps shards pack")
    if not resume and recipe.folder.is_dir() and any(recipe.folder.iterdir()):
        raise UsageError(
            f"run folder {recipe.folder}: is not empty; continue its run with --resume, or choose another name=…"
        )


@dataclass(frozen=True)
class Submission:
    """What became of a submission; `job` is None for a dry run, which writes nothing."""

    folder: Path
    script: str
    job: int | None


def submit(
    recipes: Sequence[Recipe], resources: Resources, start: Start, jobs: Path, resume: bool, dry_run: bool
) -> Submission:
    """Write a job folder into the folder `jobs`, and hand its script to SLURM.

    Raises:
        UsageError: for what the user can set right; then nothing is left behind.
        RunFailure: where SLURM's controller does not answer.
    """
    for recipe in recipes:
        check(recipe, resources, resume, start.container != "none")
    name = recipes[0].name if len(recipes) == 1 else f"{recipes[0].name}-and-{len(recipes) - 1}-more"
    folder = new_folder(jobs, name)
    read = {recipe.data.shards for recipe in recipes}
    written = {jobs.absolute(), *(path for recipe in recipes for path in written_folders(recipe))}
    script = render(start, resources, folder, name, [recipe.folder for recipe in recipes], read, written)
    if dry_run:
        return Submission(folder, script, None)
    runs = tuple(str(recipe.folder) for recipe in recipes)
    _check_with_slurm(runs, resources, jobs)
    submitted = datetime.now(timezone.utc).isoformat(timespec="microseconds")
    record = JobRecord(runs, start.launcher, resources.nodes, resources.processes, submitted)
    record = write_folder(folder, recipes, script, record)
    try:
        job = slurm.submit(folder / SCRIPT)
    except slurm.NoAnswerError as error:
        raise RunFailure(f"{error}; squeue tells whether it has the job; if not: sbatch {folder / SCRIPT}") from None
    except slurm.SlurmError as error:
        remove(folder)
        raise UsageError(f"SLURM refuses the job: {error}") from None
    replace(record, job=job).write(folder)
    return Submission(folder, script, job)


def _check_with_slurm(runs: Sequence[str], resources: Resources, jobs: Path) -> None:
    """Refuse a run that is in a job already, and what SLURM would take only to keep it waiting for ever."""
    try:
        partitions = slurm.partitions()
        queue = slurm.queued()
    except slurm.NoSlurmHereError as error:
        raise UsageError(f"{error}; submit on a machine of the cluster, or look at the job with --dry-run") from None
    except slurm.SlurmError as error:
        raise RunFailure(f"{error}; nothing was submitted") from None
    legal = "there are " + ", ".join(f"{name} ({partition})" for name, partition in partitions.items())
    asked = resources.partition or os.environ.get("SBATCH_PARTITION") or next(iter(partitions), "")
    names = asked.split(",")
    for name in names:
        if name not in partitions:
            raise UsageError(f"--partition {name}: there is none of that name; {legal}")
    if resources.nodes > max(partitions[name].nodes for name in names):
        raise UsageError(f"--nodes {resources.nodes}: are more than partition {asked} has; {legal}")
    if _takes_longer(resources, [partitions[name].time for name in names]):
        raise UsageError(f"--time {resources.time}: is more than partition {asked} allows for; {legal}")
    folders = {Path(run).resolve() for run in runs}
    for folder, record in records(jobs):
        for place, run in enumerate(record.runs):
            if (
                Path(run).resolve() in folders
                and record.job is not None
                and slurm.is_live(queue.get((record.job, place)))
            ):
                raise UsageError(f"run {run}: is in job {record.job} already ({folder}); scancel it, or let it end")


def _takes_longer(resources: Resources, limits: Sequence[str | None]) -> bool:
    """Whether the job may take longer than each of `limits`, in SLURM's words, and names no QOS that may lift them."""
    if "SBATCH_QOS" in os.environ or any(option.startswith(("--qos", "-q")) for option in resources.further):
        return False
    time = resources.time
    return time is not None and all(limit is not None and seconds(time) > seconds(limit) for limit in limits)


def _seeds(text: str) -> list[int]:
    parts = text.split(",")
    if not all(re.fullmatch(r"\s*[0-9]{1,10}\s*", part) for part in parts):
        raise UsageError(f"--seeds {text}: must be numbers with commas between them, such as 0,1,2")
    seeds = [int(part) for part in parts]
    if len(set(seeds)) < len(seeds):
        raise UsageError(f"--seeds {text}: names a seed twice")
    return seeds
