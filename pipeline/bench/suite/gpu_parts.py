"""The parts of `deps bench gpu`, in order: tests, operations, steps, and a short training by either reader."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from data_shards.decoding import dali as dali_reader
from pipeline.bench.suite import told
from pipeline.bench.suite.part import Part

ROOT = Path(__file__).parents[3]  # tests and recipes are not installed
BATCHES = (128, 256)
SHARDS, RUNS = "digits100", "runs"

_DEPS = (sys.executable, "-m", "deps_command")
_PYTEST = (sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider")
_RECIPE = "recipes/digits100_deps.yaml"


def gpu_parts(results: Path, scratch: Path) -> list[Part]:
    """All parts, whose limits together are less than 25 minutes.

    Args:
        results: an absolute path, as `scratch` is: what is kept goes here, and shards and runs there.
    """
    report, shards = results / "tests.xml", scratch / SHARDS
    tests = (*_PYTEST, f"--junitxml={report}", "tests")
    packing = (*_DEPS, "shards", "pack", "digits100", str(shards))
    return [
        Part("tests", tests, 360, "tests.txt", lambda _: told.tests(report), lacks=partial(_missing, "tests")),
        *(_benchmark("kernels", batch, 210, results, told.operations) for batch in BATCHES),
        *(_benchmark("step", batch, 180, results, told.steps) for batch in BATCHES),
        Part("data", packing, 40, "data.txt", lambda folder: told.shards(folder / "data.txt")),
        _training("dali", scratch, _no_dali),
        _training("python", scratch, partial(_missing, _RECIPE)),
    ]


def _benchmark(kind: str, batch: int, limit: float, results: Path, tell: Callable[[Path], list[str]]) -> Part:
    name = f"{kind}_{batch}"
    where = ("--device", "cuda", "--output", str(results / name))
    command = (*_DEPS, "bench", kind, "--batch", str(batch), *where, "--json")
    return Part(name, command, limit, f"{name}.json", lambda folder: tell(folder / f"{name}.json"))


def _training(reader: str, scratch: Path, lacks: Callable[[], str | None]) -> Part:
    run = scratch / RUNS / reader
    overrides = [
        f"name={reader}",
        f"runs={run.parent}",
        f"data.shards={scratch / SHARDS}",
        f"data.reader={reader}",
        "engine.name=single",
        "schedule.duration=2 epochs",
        "tracking.mlflow=false",
    ]
    name = f"training_{reader}"
    command = (*_DEPS, "train", _RECIPE, *overrides)
    return Part(name, command, 100, f"{name}.txt", lambda _: told.training(run), needs="data", lacks=lacks)


def _missing(path: str) -> str | None:
    return None if (ROOT / path).exists() else f"there is no {path} beside the packages"


def _no_dali() -> str | None:
    return _missing(_RECIPE) if dali_reader.installed() else "NVIDIA DALI is not installed"
