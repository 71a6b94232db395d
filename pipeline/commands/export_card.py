"""What `card.json` of an export tells, and what the export was asked for."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from data_shards.augmentation.colour import MEAN_COLOUR
from data_shards.augmentation.normalise import STD
from pipeline.commands.imported_data import AUTO
from pipeline.commands.opening import Opened
from pipeline.deploy.gate import Gated
from pipeline.deploy.images import Sample
from pipeline.deploy.measure import ORIGINAL, TOLERANCE, Measured
from pipeline.deploy.onnx_graph import INPUT
from pipeline.evaluation.evaluate import recalibration_ids
from pipeline.files.json_file import in_json
from pipeline.files.whole_file import Digest
from pipeline.run.description import read_description
from pipeline.run.folder import processor
from pipeline.supernet.complexity import complexity, layer_complexity
from pipeline.supernet.shapes import layers
from pipeline.supernet.space import Space
from pipeline.supernet.store import origin_of
from pipeline.supernet.subnet import Subnet

ONNX, INT8, TORCH = "onnx", "int8", "torch"
FILES = {ONNX: "subnet.onnx", INT8: "subnet.int8.onnx", TORCH: "subnet.pt2"}
NAIVE = "int8_naive"  # beside what the gate made of it; not kept
_WORDS = {
    ORIGINAL: "torch, before folding",
    ONNX: "ONNX, float32",
    NAIVE: "ONNX, all layers in INT8",
    INT8: "ONNX, INT8 within the limit",
}
_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
_OF_TRAINING = {"name", "approach", "seed", "epochs", "dataset", "validation_samples", "machine"}


@dataclass(frozen=True)
class Asked:
    """What is to be exported.

    Attributes:
        folder: with a supernet: a run's, or an imported one.
        subnet: in words.
        formats: names out of `FILES`.
        output: a new folder.
        max_drop: most points of top-1 accuracy that INT8 may lose.
        shards, convention: the data set of a supernet without a recipe; see `open_supernet`.
    """

    folder: Path
    subnet: str
    formats: tuple[str, ...]
    output: Path
    max_drop: float
    shards: Path | None = None
    convention: str = AUTO

    @property
    def command(self) -> str:
        options = [("--subnet", self.subnet), ("--format", ",".join(self.formats)), ("--output", self.output)]
        if INT8 in self.formats:
            options.append(("--max-drop", f"{self.max_drop:g}"))
        if self.shards is not None:
            options += [("--data", self.shards), ("--convention", self.convention)]
        words = [str(word) for option in options for word in option]
        return shlex.join(["deps", "export", str(self.folder), *words])


@dataclass(frozen=True)
class Made:
    """What was made and measured.

    Attributes:
        files: content, by format; `onnx` also where it was only needed for `int8`.
        measured: on the test split: `ORIGINAL`, and by format what runs in ONNX Runtime, with `NAIVE`.
        gated: None without `int8`.
        milliseconds: of a run on one image, by format.
    """

    files: Mapping[str, bytes]
    images: Sample
    measured: Mapping[str, Measured]
    gated: Gated | None
    milliseconds: Mapping[str, float]


def card_content(asked: Asked, opened: Opened, subnet: Subnet, made: Made) -> dict[str, Any]:
    """All that the card tells, as JSON has it."""
    recipe, space, config, evaluation = opened.recipe, opened.supernet.space, opened.config, opened.evaluation
    size, side, origin = complexity(space, subnet), space.image_side(subnet), origin_of(asked.folder)
    samples = len(recalibration_ids(len(opened.data.train), evaluation.recalibration_samples, evaluation.batch_size))
    measured, packages = made.measured, ("torch", *(_PACKAGES if ONNX in made.files else ()))
    return {
        "network": recipe.space.network if recipe else origin.network if origin else "supernet",
        "subnet": str(subnet),
        "macs": size.macs,
        "params": size.parameters,
        "resolution": side,
        "classes": space.classes,
        "licence": origin.note(asked.folder) if origin else None,
        "input": {
            "name": INPUT,
            "dtype": "float32",
            "layout": "NCHW",
            "shape": ["batch", 3, side, side],
            "mean": [round(each / 255, 6) for each in MEAN_COLOUR],
            "std": list(STD),
        },
        "images": {"crop": config.evaluation_crop, "interpolation": config.evaluation_interpolation},
        "test": {
            "images": measured[ORIGINAL].accuracy.samples,
            "logit_difference": measured[ONNX].difference if ONNX in measured else None,
            "tolerance": TOLERANCE,
            "networks": {name: _figures(name, measured[name], asked.formats) for name in _WORDS if name in measured},
        },
        "int8": None if made.gated is None else _int8(asked, space, subnet, made, made.gated),
        "latency": {
            "milliseconds": dict(made.milliseconds),
            "batch": 1,
            "threads": 1,
            "machine": processor(),
        },
        "data": {"name": config.shards.name, "recalibration_images": 0 if opened.is_static else samples},
        "training": read_description(asked.folder).model_dump(mode="json", include=_OF_TRAINING) if recipe else None,
        "command": asked.command,
        "versions": {name: version(name) for name in packages},
        "files": {FILES[name]: Digest.of(made.files[name])._asdict() for name in asked.formats},
    }


def _figures(name: str, measured: Measured, formats: tuple[str, ...]) -> dict[str, Any]:
    return {
        "words": _WORDS[name],
        "file": FILES[name] if name in formats and name != ORIGINAL else None,
        "top1": measured.accuracy.top1,
        "top5": measured.accuracy.top5,
        "loss": in_json(measured.accuracy.loss),
        "others": measured.others,
    }


def _int8(asked: Asked, space: Space, subnet: Subnet, made: Made, gated: Gated) -> dict[str, Any]:
    macs = {layer.name: layer_complexity(layer).macs for layer in layers(space, subnet)}
    images = made.images
    return {
        "max_drop_points": asked.max_drop,
        "test_drop_points": made.measured[ONNX].accuracy.top1 - made.measured[INT8].accuracy.top1,
        "drop": gated.drop._asdict(),
        "naive_drop": gated.naive_drop._asdict(),
        "calibration_images": len(images.calibration),
        "choice_images": len(images.choice),
        "chosen_on": images.chosen_on,
        "layers": len(gated.layers),
        "float_layers": list(gated.float_layers),
        "macs_share": 1 - sum(macs[layer] for layer in gated.float_layers) / sum(macs.values()),
        "damages": {name: in_json(damage) for name, damage in gated.damages.items()},
    }
