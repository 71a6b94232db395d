"""`deps latency`: tables of how long the pieces of subnets take where they will run, and what they predict."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from data_shards.one_line import shown
from pipeline.console.tables import print_json
from pipeline.errors import UsageError
from pipeline.latency import build as building
from pipeline.latency.kept_rounds import KeptRounds
from pipeline.latency.reading import read_latencies
from pipeline.latency.rounds import StopRule
from pipeline.latency.runtime import runtime_named
from pipeline.latency.table import Table, latency
from pipeline.recipe.named_space import named_space
from pipeline.run.folder import processor
from pipeline.supernet.space import Space
from pipeline.supernet.store import load_weights

_SIDES = re.compile(r"[0-9]{1,4}(,[0-9]{1,4})*")


def build_table(source: str, runtime: str, threads: int, batch: int, resolutions: str | None, output: Path) -> Table:
    """Build a table, write it, and return what it holds. One that was killed goes on.

    Args:
        source: a run's folder, a network's name or a recipe.
        resolutions: some of the space's, between commas; None for all.

    Raises:
        UsageError: for what cannot be built, and where `output` is there.
        RunFailure: where the machine is too busy.
    """
    found = runtime_named(runtime, threads)
    if output.exists():
        raise UsageError(f"--output {output}: is there already")
    if output.suffix in (".yaml", ".yml"):
        raise UsageError(f"--output {output}: a table is a JSON file; YAML files are OFA's")
    space = _with_resolutions(_space(source), resolutions)
    asked = building.Asked(space, threads, batch, processor())
    torch.set_num_threads(1)  # it only makes the graphs, and is not in the way of what is timed
    try:
        with KeptRounds(output, building.identity(asked, found)) as kept:
            with _bars() as progress:
                table = building.build(asked, found, kept, progress, StopRule())
            table.write(output)
            kept.drop()
    except OSError as error:
        raise UsageError(f"--output {output}: cannot be written: {error.strerror}") from None
    return table


def print_build(
    source: str, runtime: str, threads: int, batch: int, resolutions: str | None, output: Path, as_json: bool
) -> None:
    """Build a table and print how well it predicts; see `build_table`."""
    table = build_table(source, runtime, threads, batch, resolutions, output)
    errors, conditions = table.held_out, table.conditions
    if as_json:
        told = table.model_dump(mode="json", exclude={"space", "pieces", "subnets"})
        print_json({"file": str(output), "pieces": sum(map(len, table.pieces.values())), **told})
        return
    print(
        f"{output}: {sum(map(len, table.pieces.values()))} pieces, timed in {conditions.rounds} rounds "
        f"({conditions.clock}, known to ±{conditions.noise:.1%}); {table.where}"
    )
    print(
        f"{errors.subnets} subnets held out: median error {errors.median_error:.1%}, {errors.within_10_percent:.0%} "
        f"within ±10 %, Kendall's τ {errors.kendall_tau:.3f}"
    )


def print_prediction(path: Path, text: str, source: str | None, as_json: bool) -> None:
    """Print the latency that a table predicts of a subnet.

    Args:
        source: where the space is to be taken from, for a table that tells none.
    """
    latencies, space = read_latencies(path)
    if source is not None:
        space = _space(source)
    if space is None:
        raise UsageError(f"{path}: tells no space; add --space, a network's name, a recipe or a run's folder")
    subnet = space.parse(text)
    milliseconds = latency(latencies, space, subnet) * 1000
    if as_json:
        print_json({"subnet": str(subnet), "latency_ms": milliseconds, "table": str(path), "where": latencies.source})
    else:
        print(f"{subnet}: {milliseconds:.3f} ms, predicted ({latencies.source})")


def _space(source: str) -> Space:
    return load_weights(Path(source))[0] if Path(source).is_dir() else named_space(source)


def _with_resolutions(space: Space, text: str | None) -> Space:
    if text is None:
        return space
    if not _SIDES.fullmatch(text):
        raise UsageError(f"--resolutions {shown(text)}: are no sides, as 192,224")
    sides = sorted(set(map(int, text.split(","))))
    if unknown := [side for side in sides if side not in space.resolutions]:
        legal = ", ".join(map(str, space.resolutions))
        raise UsageError(f"--resolutions: {unknown[0]} is none of the space's: {legal}")
    return replace(space, resolutions=tuple(sides))


@contextmanager
def _bars() -> Iterator[building.Progress]:
    """A bar for what is prepared and one for the rounds, with the time that is left."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:

        def bar(words: str) -> Callable[[int, int], None]:
            task = bars.add_task(words, total=None)
            return lambda done, total: bars.update(task, completed=done, total=total)

        yield building.Progress(bar("graphs"), bar("rounds"))
