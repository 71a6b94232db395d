"""`deps bench gpu`: all that a GPU can tell of this project, in one command and less than 25 minutes.

Tests, operations, steps and trainings are commands of their own, so that what crashes, hangs or is missing in one costs
no other. All goes to a folder named by GPU and date, with a page, which is written anew after each part.
"""

from __future__ import annotations

import re
import shlex
import shutil
import tempfile
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import torch

from data_shards.one_line import one_line
from pipeline.bench.place import place, place_line
from pipeline.bench.progress import progress
from pipeline.bench.results import results_folder
from pipeline.bench.suite.gpu_parts import ROOT, RUNS, gpu_parts
from pipeline.bench.suite.page import counted, page
from pipeline.bench.suite.part import Outcome, Part
from pipeline.bench.suite.running import run_parts
from pipeline.console.tables import print_json
from pipeline.errors import RunFailure, UsageError
from pipeline.files.whole_file import write_whole
from pipeline.run.layout import CONFIG, LEDGER, METRICS, RUN

PAGE = "summary.md"
_PACKAGES = ("numpy", "nvidia-dali-cuda130", "deepspeed")


def print_gpu_suite(output: Path | None, dry_run: bool, as_json: bool) -> None:
    """Run all parts and print how each went; with `dry_run` only what they are.

    Raises:
        UsageError: where there is no GPU, or the folder cannot be had.
        RunFailure: after all, where a part failed or took too long.
    """
    if dry_run:
        _print_parts(gpu_parts(Path("RESULTS"), Path("SCRATCH")), as_json)
        return
    if not torch.cuda.is_available():
        raise UsageError("bench gpu: needs a GPU that torch can use, and there is none; nothing was run")
    device = torch.device("cuda")
    gpu = torch.cuda.get_device_name(device)
    folder = results_folder(results_folder(output) / folder_name(gpu, datetime.now())).resolve()
    with tempfile.TemporaryDirectory(prefix="deps-bench-gpu-") as scratch:
        parts = gpu_parts(folder, Path(scratch))
        outcomes = run_suite(gpu, lambda: place(device, _PACKAGES), parts, folder, quiet=as_json)
        _keep_runs(Path(scratch) / RUNS, folder)
    if as_json:
        rows = [{**_row(part), **_figures(outcomes[part.name])} for part in parts]
        print_json({"folder": str(folder), **place(device, _PACKAGES), "parts": rows})
    else:
        print(f"{counted(outcomes)}: see {folder / PAGE}")
    if failed := [name for name, outcome in outcomes.items() if outcome.is_failure]:
        raise RunFailure(f"bench gpu: {', '.join(failed)} failed: see {folder / PAGE}")


def run_suite(
    gpu: str, where: Callable[[], dict[str, Any]], parts: Sequence[Part], folder: Path, quiet: bool
) -> dict[str, Outcome]:
    """Run the parts, writing the page anew after each: whatever ends this, what was found is there.

    Args:
        gpu: its name.
        where: `pipeline.bench.place.place`.
        folder: of results, an absolute path.
        quiet: print no line for each part.
    """
    outcomes: dict[str, Outcome] = {}
    with progress(len(parts)) as advance:
        advance(parts[0].name)
        for part, outcome in run_parts(parts, folder, ROOT):
            outcomes[part.name] = outcome
            found = where()
            text = page(f"{gpu}, {found['date'][:10]}", place_line(found), parts, outcomes)
            write_whole(folder / PAGE, text.encode())
            advance(part.name)
            if not quiet:
                print(one_line(f"{part.name}: {outcome.status}, {outcome.seconds:.0f} s{_reason(outcome)}"), flush=True)
    return outcomes


def folder_name(gpu: str, now: datetime) -> str:
    """`nvidia_h200_2026-11-29_1405`."""
    return f"{re.sub(r'[^a-z0-9]+', '_', gpu.lower()).strip('_')}_{now:%Y-%m-%d_%H%M}"


def _keep_runs(runs: Path, folder: Path) -> None:
    """Copy what trainings measured; checkpoints and weights are not kept."""
    for run in sorted(runs.iterdir()) if runs.exists() else ():
        (folder / run.name).mkdir(exist_ok=True)
        for name in (CONFIG, RUN, METRICS, LEDGER):
            if (run / name).exists():
                shutil.copy(run / name, folder / run.name / name)


def _print_parts(parts: Sequence[Part], as_json: bool) -> None:
    rows = [_row(part) for part in parts]
    if as_json:
        print_json({"parts": rows, "limit_seconds": sum(part.limit for part in parts)})
        return
    for row in rows:
        print(f"{row['part']}, at most {row['limit_seconds']:g} s: {row['command']}")
    print(f"All together at most {sum(part.limit for part in parts) / 60:g} minutes. SCRATCH is a temporary folder.")


def _row(part: Part) -> dict[str, Any]:
    command = shlex.join(part.command)
    return {"part": part.name, "limit_seconds": part.limit, "needs": part.needs, "command": command}


def _figures(outcome: Outcome) -> dict[str, Any]:
    return {"status": outcome.status, "seconds": outcome.seconds, "why": outcome.why}


def _reason(outcome: Outcome) -> str:
    return f": {outcome.why}" if outcome.why else ""
