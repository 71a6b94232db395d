"""`deps bench evaluate`: subnets measured per minute, by us and by extracting and evaluating each, in one run."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from data_shards.augmentation.normalise import normalise
from data_shards.config import DataConfig
from data_shards.loading.loader import EvaluationLoader
from data_shards.one_line import shown
from data_shards.open_data import Data, open_data
from data_shards.packing.pack import pack
from data_shards.sources.digits100 import Digits100
from kernels.bench.timing import Clock
from pipeline.bench.contenders import initial_weights
from pipeline.bench.place import device_named, place, place_line
from pipeline.bench.plots import evaluate_plot
from pipeline.bench.progress import progress
from pipeline.bench.reading.cpu_time import cpu_seconds
from pipeline.bench.results import keep, results_folder
from pipeline.bench.step import place_of
from pipeline.bench.table import print_figures
from pipeline.console.tables import print_json
from pipeline.errors import RunFailure, UsageError
from pipeline.evaluation.config import EvaluationConfig
from pipeline.evaluation.evaluate import Accuracy, Evaluator, count, recalibration_ids
from pipeline.evaluation.recalibrate import recalibrate
from pipeline.evaluation.room import room_for_images
from pipeline.predictor.encoding import Encoding
from pipeline.processes.group import Processes
from pipeline.supernet.extract import extract
from pipeline.supernet.networks import NETWORKS, build_space, named
from pipeline.supernet.space import Space
from pipeline.supernet.subnet import Subnet
from pipeline.supernet.supernet import Supernet

_DEFAULTS = {"cpu": ("mobilenet_v3_digits", "mobilenet_v3_32px"), "cuda": ("mobilenet_v3",)}
# What recipes/digits100_deps.yaml says of it.
_CHOICES: dict[str, dict[str, Any]] = {"mobilenet_v3_digits": {"depths": (1, 2, 3), "resolutions": (16,)}}
_BATCHES = {"mobilenet_v3_digits": 500}
_RECALIBRATED = 2  # images for recalibration per one that is measured on
_LOSS, _IMAGES = 1e-4, 1e-3  # how far accuracies may be apart: the loss, of itself; hits, of all images

_COLUMNS = {
    "network": ("network", ""),
    "contender": ("contender", ""),
    "status": ("check", ""),
    "subnets_per_minute": ("subnets/min", ".1f"),
    "seconds_per_subnet": ("s/subnet", ".3f"),
    "ratio": ("× ours", ".2f"),
    "cpu_seconds_per_subnet": ("CPU s/subnet", ".3f"),
    "cpu_ratio": ("× ours", ".2f"),
}
_DESCRIPTIONS = {
    "ours": "measured together: shared beginnings once, images kept, batch norm applied by the next convolution",
    "one by one": "each extracted, recalibrated on kept images, and shown the held-out ones, decoded every time",
}


class _Case(NamedTuple):
    """What is measured: these subnets, on the validation images of `data`."""

    supernet: Supernet
    subnets: Sequence[Subnet]
    config: DataConfig
    data: Data
    evaluation: EvaluationConfig
    device: torch.device


# Measures the subnets of a case, as often as it is called.
_Contender = Callable[[], Sequence[Accuracy]]


def _ours(case: _Case) -> _Contender:
    processes = Processes(0, 1, case.device)
    room = room_for_images(case.supernet.space, case.evaluation.batch_size, processes)
    assert case.data.validation is not None
    evaluator = Evaluator(case.data.train, case.data.validation, case.config, case.evaluation, processes, room)
    return lambda: list(evaluator.each(case.supernet, case.subnets))


def _one_by_one(case: _Case) -> _Contender:
    train, validation, size = case.data.train, case.data.validation, case.evaluation.batch_size
    assert validation is not None
    side = case.supernet.space.image_side(case.subnets[0])
    ids = recalibration_ids(len(train), case.evaluation.recalibration_samples, size)
    kept = [batch.images.clone() for batch in EvaluationLoader(train, case.config, side, size, 0, 1, ids)]

    def measured(subnet: Subnet) -> Accuracy:
        network = extract(case.supernet, subnet)
        recalibrate(network, (normalise(images.to(case.device)) for images in kept))
        top1, top5, loss, samples = count(
            network, EvaluationLoader(validation, case.config, side, size, 0, 1), case.device
        )
        return Accuracy(100 * top1 / samples, 100 * top5 / samples, loss / samples, int(samples))

    def contender() -> Sequence[Accuracy]:
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            return [measured(subnet) for subnet in case.subnets]

    return contender


_CONTENDERS = {"ours": _ours, "one by one": _one_by_one}


def evaluate_benchmark(
    networks: Sequence[str],
    subnets: int,
    images: int,
    repeats: int,
    device: torch.device,
    advance: Callable[[str], None],
) -> dict[str, Any]:
    """Measure random subnets by each contender, in turns, and compare what they find.

    Args:
        networks: names, measured at their largest resolution.
        images: to measure on; twice as many recalibrate.
        advance: called with what is done next, `parts` times.
    """
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        shards = Path(folder) / "digits100"
        advance("packing")
        pack(Digits100(train=(1 + _RECALIBRATED) * images, test=1), shards)
        for network in networks:
            rows += _rows(network, _case(network, shards, subnets, images, device), repeats, advance)
    return {
        "subnets": subnets,
        "images": images,
        "recalibration_images": _RECALIBRATED * images,
        "repeats": repeats,
        "contenders": rows,
        **place(device),
    }


def parts(networks: Sequence[str], repeats: int) -> int:
    """How often `evaluate_benchmark` calls `advance`."""
    return 1 + len(networks) * len(_CONTENDERS) * (1 + repeats)


def print_evaluate_benchmark(
    networks: Sequence[str],
    subnets: int,
    images: int,
    repeats: int,
    device: str | None,
    output: Path | None,
    as_json: bool,
) -> None:
    """Measure, print, and keep as CSV and SVG.

    Raises:
        UsageError: where a network, the device or the folder cannot be had.
        RunFailure: after printing, where the contenders find different accuracies.
    """
    on = device_named(device)
    networks = networks or _DEFAULTS[on.type]
    for network in networks:
        _space(network)  # refused before the folder is made
    folder = results_folder(output)
    with progress(parts(networks, repeats)) as advance:
        found = evaluate_benchmark(networks, subnets, images, repeats, on, advance)
    rows = found["contenders"]
    title = f"{subnets} random subnets, each recalibrated on {_RECALIBRATED * images} images, measured on {images}"
    about = {name: found[name] for name in ("subnets", "images", "recalibration_images", "repeats")}
    kept = [{**row, **about} for row in rows]
    found["files"] = keep(folder, "evaluate", place_of(found), kept, lambda path: evaluate_plot(path, title, rows))
    if as_json:
        print_json(found)
    else:
        print_figures(title, rows, _COLUMNS)
        for name, description in _DESCRIPTIONS.items():
            print(f"{name}: {description}")
        print(f"Medians of {repeats} turns, contenders one after the other in each; images of digits100.")
        print("CPU time is that of all processes: on a busy machine its ratio tells more.")
        print(place_line(place_of(found)))
        print(f"Kept: {', '.join(found['files'])}")
    if failed := [f"{row['network']}: {row['status'].removeprefix('FAILED: ')}" for row in rows if "ratio" not in row]:
        raise RunFailure(f"bench evaluate: {'; '.join(dict.fromkeys(failed))}; no figure is given for it")


def _case(network: str, shards: Path, subnets: int, images: int, device: torch.device) -> _Case:
    config = DataConfig(shards=shards, validation_samples=images)
    space = _space(network)
    supernet = Supernet(space)
    supernet.load_state_dict(initial_weights(space))
    encoding, drawn = Encoding(space), np.random.default_rng(0)
    chosen = [space.on_images(encoding.decode(row), space.resolution) for row in encoding.sample(subnets, drawn)]
    batch = _BATCHES.get(network, EvaluationConfig().batch_size)
    evaluation = EvaluationConfig(recalibration_samples=_RECALIBRATED * images, batch_size=batch)
    return _Case(supernet.to(device), chosen, config, open_data(config), evaluation, device)


def _space(network: str) -> Space:
    """Of a network's name, for the classes of the images.

    Raises:
        UsageError: naming the legal ones.
    """
    if network not in NETWORKS:
        raise UsageError(f"--network {shown(network)}: is none; legal: {', '.join(NETWORKS)}")
    return build_space(named(network, **_CHOICES.get(network, {})), len(Digits100.classes))


def _rows(network: str, case: _Case, repeats: int, advance: Callable[[str], None]) -> list[dict[str, Any]]:
    clock = Clock(case.device, flush=False)
    contenders = {name: build(case) for name, build in _CONTENDERS.items()}
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    of_cpu: dict[str, list[float]] = {name: [] for name in contenders}
    complaint = None
    for _ in range(1 + repeats):  # the first one warms up
        accuracies: dict[str, Sequence[Accuracy]] = {}
        for name, contender in contenders.items():
            advance(f"{network}, {name}")
            before = cpu_seconds()
            taken, accuracies[name] = clock.time(contender)
            seconds[name].append(taken / len(case.subnets))
            of_cpu[name].append((cpu_seconds() - before) / len(case.subnets))
        ours, others = accuracies.values()
        complaint = complaint or _difference(case.subnets, ours, others)
    medians, cpu_medians = (
        {name: statistics.median(values[1:]) for name, values in each.items()} for each in (seconds, of_cpu)
    )
    rows: list[dict[str, Any]] = []
    for name, median in medians.items():
        row = {"network": network, "resolution_px": case.supernet.space.resolution, "contender": name}
        if complaint:
            rows.append({**row, "status": f"FAILED: {complaint}"})
            continue
        rows.append(
            {
                **row,
                "status": "ok",
                "seconds_per_subnet": median,
                "subnets_per_minute": 60 / median,
                "ratio": median / medians["ours"],
                "cpu_seconds_per_subnet": cpu_medians[name],
                "cpu_ratio": cpu_medians[name] / cpu_medians["ours"],
            }
        )
    return rows


def _difference(subnets: Sequence[Subnet], ours: Sequence[Accuracy], others: Sequence[Accuracy]) -> str | None:
    """What differs beyond rounding, which may turn a tie between two classes; None where nothing does."""
    for subnet, one, other in zip(subnets, ours, others, strict=True):
        apart: Mapping[str, float] = {
            "loss": abs(one.loss - other.loss) / (_LOSS * other.loss),
            **{
                name: abs(getattr(one, name) - getattr(other, name)) / (100 * max(_IMAGES, 1.5 / other.samples))
                for name in ("top1", "top5")
            },
        }
        if (worst := max(apart, key=lambda name: apart[name])) and not apart[worst] <= 1:
            return f"{worst} of {subnet} is {getattr(one, worst):.6g}, extracted it is {getattr(other, worst):.6g}"
    return None
