"""`deps weights RUN`: the plain weights of a checkpoint, as a finished run has them, also while the run goes on."""

from __future__ import annotations

import logging
from pathlib import Path

from data_shards.one_line import readable
from pipeline.checkpoints.belonging import misfit_of
from pipeline.checkpoints.checkpoint import load_best_checkpoint, load_newest_checkpoint
from pipeline.errors import UsageError
from pipeline.recipe.schedule_of import schedule_of
from pipeline.run.description import read_description
from pipeline.run.folder import read_recipe
from pipeline.run.start import origin_of_trained
from pipeline.supernet.networks import build_space
from pipeline.supernet.store import origin_of, save_supernet


def write_weights(run: Path, best: bool, output: Path) -> tuple[int, list[Path]]:
    """Write `supernet.safetensors` and `supernet.json` of the newest or best checkpoint of `run` into `output`.

    Returns:
        The checkpoint's step, and the files.

    Raises:
        UsageError: for a folder that is no run or has no (evaluated) checkpoint, or an output that cannot be written
            or is the run itself: weights in it are those of its end.
        RunFailure: for damaged checkpoints.
    """
    recipe, description = read_recipe(run), read_description(run)
    space = build_space(recipe.space, description.classes)
    misfit = misfit_of(schedule_of(recipe, space, description.steps_per_epoch))
    if output.resolve() == run.resolve():
        raise UsageError(
            f"--output {output}: is the run's own folder, whose weights are those of its end; name another"
        )
    warnings: list[str] = []
    checkpoint = (load_best_checkpoint if best else load_newest_checkpoint)(run, warnings, misfit)
    for line in warnings:
        logging.getLogger(__name__).warning("%s", line)
    if checkpoint is None:
        raise UsageError(f"{run}: has no whole checkpoint yet; checkpoint.every says when the first is written")
    try:
        output.mkdir(parents=True, exist_ok=True)
        files = save_supernet(output, space, checkpoint.state.weights, origin_of_trained(description.start))
    except OSError as error:
        raise UsageError(f"--output {output}: cannot be written: {error.strerror}") from None
    return checkpoint.step, files


def print_weights(run: Path, best: bool, output: Path) -> None:
    """Do it, and tell what was written."""
    step, files = write_weights(run, best, output)
    print(f"step {step}: {', '.join(map(str, files))}")
    if origin := origin_of(output):
        print(readable(origin.note(output)))
