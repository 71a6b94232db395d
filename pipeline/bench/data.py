"""`deps bench data`: readers side by side, the wait of a real training, and the start at a million samples."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.bench.place import PLACE, device_named, place, place_line
from pipeline.bench.plots import data_plot
from pipeline.bench.progress import progress
from pipeline.bench.reading import rounds
from pipeline.bench.reading.aims import Aim, aims
from pipeline.bench.reading.dali_sequential import write_indexes
from pipeline.bench.reading.photographs import QUALITY, make_photographs
from pipeline.bench.reading.readers import READERS
from pipeline.bench.reading.shown import BATCH, PREFETCH, RESOLUTION
from pipeline.bench.reading.start import SAMPLES, SHARDS, measure_starts
from pipeline.bench.reading.training_wait import measure_wait
from pipeline.bench.results import keep, results_folder
from pipeline.bench.table import print_figures
from pipeline.console.tables import print_json
from pipeline.errors import RunFailure, UsageError

KEPT = Path("data_shards/bench_results")
SIDES = ((64, 256), (320, 512))  # of the pictures of each data set, in pixels

_PACKAGES = ("simplejpeg", "opencv-python-headless", "nvidia-dali-cuda130", "webdataset", "pillow")
_LEAST_IMAGES = 2 * BATCH
_COLUMNS = {
    "data_set": ("pictures", ""),
    "contender": ("contender", ""),
    "status": ("check", ""),
    "workers": ("workers", "d"),
    "images_per_second": ("images/s", ".0f"),
    "cpu_us_per_image": ("CPU µs/image", ".0f"),
    "cpu_to_decode_ratio": ("CPU × decode alone", ".2f"),
}


@dataclass(frozen=True)
class Extent:
    """How much is measured.

    Attributes:
        images: of each data set.
        rounds: of turns of `turn_seconds`, one for each contender.
        samples, shards: of the data set that is started with.
        ranks: numbers of processes that start.
        steps: of the training.
    """

    images: int = 4096
    rounds: int = 5
    turn_seconds: float = 2.0
    samples: int = SAMPLES
    shards: int = SHARDS
    ranks: tuple[int, ...] = (1, 8)
    steps: int = 300


_QUICK = Extent(_LEAST_IMAGES, 1, 0.1, 20_000, 20, (2,), 4)


def print_data_benchmark(
    images: int | None, workers: int | None, repeats: int | None, quick: bool, output: Path | None, as_json: bool
) -> None:
    """Measure, print, and keep as CSV and SVG; a quick run is kept only where a folder is given.

    Raises:
        UsageError: where an option is out of range or the folder cannot be had.
        RunFailure: after printing, where a contender shows something wrong.
    """
    extent = _QUICK if quick else Extent()
    extent = replace(extent, images=_or(images, extent.images), rounds=_or(repeats, extent.rounds))
    workers = _or(workers, min(os.cpu_count() or 1, extent.images // 4))
    if extent.images < _LEAST_IMAGES:
        raise UsageError(f"--images: {extent.images} are too few; legal: {_LEAST_IMAGES} or more")
    if workers > extent.images // 4:
        raise UsageError(
            f"--workers: {workers} is not legal; legal for {extent.images} images: 1 … {extent.images // 4}"
        )
    folder = None if quick and output is None else results_folder(output, KEPT)
    with progress(len(SIDES) + rounds.parts(len(SIDES), extent.rounds) + 2) as advance:
        found = data_benchmark(extent, workers, advance)
    found["files"] = [] if folder is None else _keep(folder, found)
    if as_json:
        print_json(found)
    else:
        _print(found)
    failed = [row for row in found["contenders"] if row["status"].startswith("FAILED")]
    if failed:
        told = [f"{row['contender']}, {row['data_set']}: {row['status'].removeprefix('FAILED: ')}" for row in failed]
        raise RunFailure(f"bench data: {'; '.join(told)}; no figure is given for it")


def data_benchmark(extent: Extent, workers: int, advance: Callable[[str], None]) -> dict[str, Any]:
    """All of it, in a temporary folder.

    Args:
        workers: processes or threads that read, of each contender that has any.
        advance: called with what is done next.
    """
    with tempfile.TemporaryDirectory(prefix="deps-bench-data-") as name:
        root = Path(name)
        data_sets = []
        for sides in SIDES:
            advance(f"drawing pictures of {sides[0]} to {sides[1]} px")
            data_sets.append(make_photographs(root, sides, extent.images, shards=2 * workers))
            write_indexes(data_sets[-1])
        contenders = rounds.measure_readers(data_sets, extent.rounds, extent.turn_seconds, workers, advance)
        described = [
            {
                "data_set": data.name,
                "sides_px": data.sides,
                "images": data.images,
                "bits_per_pixel": data.bits_per_pixel,
            }
            for data in data_sets
        ]
        advance("starts")
        starts = measure_starts(root, extent.samples, extent.shards, extent.ranks)
        advance("a short training")
        training = measure_wait(root, extent.steps)
    return {
        **asdict(extent),
        "workers": workers,
        "prefetch": PREFETCH,
        "batch_size": BATCH,
        "resolution_px": RESOLUTION,
        "quality": QUALITY,
        "data_sets": described,
        "contenders": contenders,
        "starts": starts,
        "training": training,
        "aims": [aim.row() for aim in aims(described, contenders, starts, training)],
        **place(device_named(None), _PACKAGES),
    }


def _or(chosen: int | None, usual: int) -> int:
    return usual if chosen is None else chosen


def _keep(folder: Path, found: Mapping[str, Any]) -> list[str]:
    """One CSV of the three parts, told apart by its first column, and a plot of the first."""
    about = {
        name: found[name] for name in ("images", "rounds", "turn_seconds", "prefetch", "batch_size", "resolution_px")
    }
    pixels = {data["data_set"]: {"bits_per_pixel": data["bits_per_pixel"]} for data in found["data_sets"]}
    kept = [{"part": "reading", **row, **about, **pixels[row["data_set"]]} for row in found["contenders"]]
    kept += [{"part": "start", **row} for row in found["starts"]]
    kept += [{"part": "training", **found["training"]}]
    return keep(folder, "data", _place(found), kept, lambda path: data_plot(path, _title(found), found["contenders"]))


def _place(found: Mapping[str, Any]) -> dict[str, Any]:
    return {name: found[name] for name in PLACE}


def _title(found: Mapping[str, Any]) -> str:
    return f"Random resized crops of {found['resolution_px']} px in batches of {found['batch_size']}"


def _print(found: Mapping[str, Any]) -> None:
    print_figures(_title(found), found["contenders"], _COLUMNS)
    for name, contender in READERS.items():
        print(f"{name}: {contender.description}")
    bits = ", ".join(f"{data['bits_per_pixel']:.1f} at {data['data_set']}" for data in found["data_sets"])
    print(
        f"Medians of {found['rounds']} rounds, contenders in turns; {found['images']} generated JPEGs of quality "
        f"{found['quality']} (bits per pixel: {bits}), read from the page cache."
    )
    print("CPU time is of the process and all its children and threads. What the contenders do is not quite the same:")
    print("ours check a CRC-32 per image and are exact in order and resume; the Python reader decodes at a fraction of")
    print("the size where the crop allows it; the two PIL pipelines give normalised floats, the others uint8.")
    print()
    _print_starts(found)
    _print_training(found["training"])
    print()
    for aim in found["aims"]:
        print(Aim(aim["aim"], aim["limit"], aim["at_most"], aim["measured"]).line())
    print(place_line(_place(found)))
    if found["files"]:
        print(f"Kept: {', '.join(found['files'])}")


def _print_starts(found: Mapping[str, Any]) -> None:
    mib = 2**20
    print(f"Start with {found['samples']:,} samples in {found['shards']} shards; imports not counted:")
    for row in found["starts"]:
        memory = ""
        if row["peak_bytes"] is not None:
            memory = (
                f"; peak memory {row['peak_bytes'] / mib:.0f} MiB, of which the start {row['added_bytes'] / mib:.0f}"
            )
        print(
            f"  {row['ranks']} rank(s), {row['at_once']} at once, step {row['step']}: loader ready after "
            f"{row['ready_seconds']:.2f} s, first ids after {row['first_ids_seconds']:.2f} s{memory}"
        )


def _print_training(training: Mapping[str, Any]) -> None:
    print(f"Training of digits100 ({training['status']})", end="")
    if "wait_fraction" in training:
        print(
            f": {training['steps']} steps in {training['training_seconds']:.1f} s, of which "
            f"{training['waited_seconds']:.2f} s ({100 * training['wait_fraction']:.1f} %) waiting for data; once it "
            f"runs, {100 * training['wait_fraction_later']:.1f} %",
            end="",
        )
    print()
