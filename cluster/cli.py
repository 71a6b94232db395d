"""The commands `deps submit` and `deps status`: options, and what is printed."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cluster.resources import Resources
from cluster.script import Container, Launcher, Start
from data_shards.command_line import whole
from data_shards.one_line import one_line
from pipeline.console.quantities import with_prefix
from pipeline.console.tables import print_json, print_table

if TYPE_CHECKING:
    from cluster.status import Status

Jobs = Annotated[Path, typer.Option(help="Folder of the job folders.")]


def add_commands(app: typer.Typer) -> None:
    """Add both commands to the command line `deps`."""
    app.command(
        "submit",
        epilog="Example: [bold]deps submit recipes/digits.yaml --nodes 2 --gpus-per-node 8 --time 24:00:00[/bold]",
    )(submit_command)
    app.command("status", epilog="Example: [bold]deps status runs/digits[/bold]")(status_command)


def submit_command(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="RECIPE... [key=value]...", help="Several recipes make a job array.", show_default=False
        ),
    ],
    nodes: Annotated[int, whole(1, 100_000, help="Of each run.", show_default=False)],
    gpus_per_node: Annotated[int, whole(0, 1024, help="One process each; 0: CPUs.", show_default=False)],
    processes_per_node: Annotated[
        int | None, whole(1, 4096, help="With --gpus-per-node 0.", show_default=False)
    ] = None,
    cpus_per_process: Annotated[int, whole(1, 4096, help="For threads and readers.")] = 1,
    time: Annotated[
        str | None, typer.Option(help="Limit, as D-HH:MM:SS; the partition's own.", show_default=False)
    ] = None,
    seconds_to_save: Annotated[int, whole(10, 65535, help="Left for saving before the limit.")] = 180,
    most_requeues: Annotated[int, whole(0, 1_000_000, help="Times a run that is out of time queues again.")] = 100,
    partition: Annotated[str | None, typer.Option(show_default=False)] = None,
    account: Annotated[str | None, typer.Option(show_default=False)] = None,
    sbatch: Annotated[
        list[str] | None, typer.Option(help="Another option of sbatch: --sbatch=--exclusive.", show_default=False)
    ] = None,
    launcher: Annotated[Launcher, typer.Option(help="What starts the processes.")] = "deepspeed",
    container: Annotated[Container, typer.Option(help="What runs the image.")] = "none",
    image: Annotated[str | None, typer.Option(help="Of the container.", show_default=False)] = None,
    seeds: Annotated[
        str | None, typer.Option(help="As 0,1,2: each run once for each, as NAME-SEED.", show_default=False)
    ] = None,
    jobs: Jobs = Path("jobs"),
    resume: Annotated[bool, typer.Option("--resume", help="Continue runs that were begun.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check, and print the batch script; write nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Submit training to SLURM; many runs as one array. A job that is out of time saves, queues again and goes on."""
    from cluster.submit import recipes_of, submit

    recipes = recipes_of(arguments, seeds)
    resources = Resources(
        nodes,
        gpus_per_node,
        processes_per_node or gpus_per_node or 1,
        cpus_per_process,
        time,
        seconds_to_save,
        partition,
        account,
        tuple(sbatch or ()),
    )
    start = Start(launcher, container, image, most_requeues)
    done = submit(recipes, resources, start, jobs, resume, dry_run)
    if as_json:
        folders = [str(recipe.folder) for recipe in recipes]
        print_json({"job": done.job, "folder": str(done.folder), "runs": folders, "script": done.script})
    elif dry_run:
        print(done.script, end="")
    else:
        names = ", ".join(recipe.name for recipe in recipes)
        print(f"job {done.job}: {names} on {resources.nodes} × {resources.processes_per_node} processes; {done.folder}")


def status_command(
    runs: Annotated[
        list[Path] | None, typer.Argument(metavar="[RUN]...", help="Folders of runs.", show_default=False)
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Also runs that are finished.")] = False,
    runs_folder: Annotated[Path, typer.Option("--runs", help="Folder of the run folders.")] = Path("runs"),
    jobs: Jobs = Path("jobs"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Where runs are: queued, running or done; steps, cost and time left. With SLURM and without."""
    from cluster.status import status

    statuses = status(runs or (), runs_folder, jobs)
    found = list(statuses.found)
    for complaint in (*statuses.unreadable, *filter(None, [statuses.no_answer])):
        print(one_line(f"deps: {complaint}"), file=sys.stderr)
    shown = found if runs or every else [each for each in found if each.state != "finished"]
    if as_json:
        print_json([_row(each) for each in shown])
    elif shown:
        accounted = any(each.accounted_hours is not None for each in shown)
        columns = {key: column for key, column in _COLUMNS.items() if accounted or key != "accounted"}
        print_table("Runs", [_texts(each) for each in shown], columns)
    elif found:
        print(f"all runs are finished ({len(found)}); --all shows them")
    elif not statuses.unreadable:
        print(f"no runs in {runs_folder}, and no jobs in {jobs}")
    if statuses.unreadable:
        raise typer.Exit(2)


_COLUMNS = {
    "name": ("run", ""),
    "state": ("state", ""),
    "steps": ("steps", ">"),
    "cost": ("cost so far", ">"),
    "macs": ("training MACs", ">"),
    "accounted": ("by SLURM", ">"),
    "expected": ("expected", ">"),
    "left": ("time left", ">"),
    "job": ("job", ">"),
    "remark": ("remark", ""),
}


def _row(status: Status) -> dict[str, Any]:
    run = status.run
    price = run.price_per_hour
    return {
        "run": str(run.folder),
        "name": run.folder.name,
        "state": status.state,
        "step": run.step,
        "steps": run.steps,
        "unit": run.unit,
        "hours": run.hours,
        "accounted_hours": status.accounted_hours,
        "expected_hours": run.expected_hours,
        "dollars": None if price is None or run.hours is None else price * run.hours,
        "expected_dollars": None if price is None or run.expected_hours is None else price * run.expected_hours,
        "seconds_left": run.seconds_left,
        "training_macs": run.training_macs,
        "job": status.job or None,
        "remark": status.remark or None,
    }


def _texts(status: Status) -> dict[str, str]:
    row = _row(status)
    return {
        "name": row["name"],
        "state": row["state"],
        "steps": f"{row['step']:,}/{row['steps']:,}" if row["steps"] else "",
        "cost": _cost(row["hours"], row["unit"], row["dollars"]),
        "macs": _macs(row["hours"], row["training_macs"]),
        "accounted": "" if row["accounted_hours"] is None else f"{row['accounted_hours']:,.3f}",
        "expected": _cost(row["expected_hours"], row["unit"], row["expected_dollars"]),
        "left": "" if row["seconds_left"] is None else str(timedelta(seconds=round(row["seconds_left"]))),
        "job": row["job"] or "",
        "remark": row["remark"] or "",
    }


def _macs(hours: float | None, count: int | None) -> str:
    if hours is None:
        return ""
    return "not counted" if count is None else with_prefix(count, "MACs")


def _cost(hours: float | None, unit: str | None, dollars: float | None) -> str:
    if hours is None:
        return ""
    return f"{hours:,.3f} {unit}" + ("" if dollars is None else f" ({dollars:,.2f} $)")
