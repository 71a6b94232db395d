"""The card of an export: what the files beside it are, how good, how large and how fast, and how they are run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.reports.page import Block, Code, Heading, Listing, Table, Text, to_markdown

CARD, CARD_JSON, RECIPE = "card.md", "card.json", "recipe.yaml"

# In ONNX Runtime, and by torch alone.
_RUN_ONNX = """
import numpy as np, onnxruntime

session = onnxruntime.InferenceSession("{file}", providers=["CPUExecutionProvider"])
pixels = ...  # uint8 [N, {side}, {side}, 3], RGB
mean, std = np.float32({mean}), np.float32({std})
images = ((pixels / np.float32(255) - mean) / std).transpose(0, 3, 1, 2)
[logits] = session.run(["logits"], {{"images": np.ascontiguousarray(images)}})
"""
_RUN_TORCH = """
import torch

network = torch.export.load("{file}").module()
logits = network(images)  # a tensor of such images, float32
"""


def card(content: Mapping[str, Any]) -> str:
    """`card.md`, from what `card.json` holds."""
    title = f"{content['network']}, {content['subnet']}"
    return to_markdown(
        title, [*_network(content), *_files(content), *_int8(content), *_origin(content), *_running(content)]
    )


def _network(content: Mapping[str, Any]) -> Iterator[Block]:
    given, shown = content["input"], content["images"]
    side = "as large as fits" if shown["crop"] == 1 else f"of {shown['crop']:g} of the short side"
    rows = {
        "subnet": content["subnet"],
        "MACs": f"{content['macs']:,d}",
        "parameters": f"{content['params']:,d}",
        "classes": f"{content['classes']:,d}",
        "input": f"{given['name']}: {given['dtype']} [{', '.join(map(str, given['shape']))}], {given['layout']}, RGB, "
        f"(pixel / 255 - mean) / std with mean {given['mean']}, std {given['std']}",
        "output": f"logits: float32 [batch, {content['classes']}]; no softmax",
        "images": f"the centre square, {side}, resized to {content['resolution']} px ({shown['interpolation']})",
    }
    if content["licence"]:
        rows["licence"] = content["licence"]
    yield Table(["", ""], list(rows.items()), labels=2)


def _files(content: Mapping[str, Any]) -> Iterator[Block]:
    test, latency = content["test"], content["latency"]
    yield Heading("Accuracy, size, latency")
    rows = []
    for name, row in test["networks"].items():
        file = content["files"].get(row["file"], {})
        time = latency["milliseconds"].get(name)
        rows.append(
            [
                row["words"],
                f"{row['top1']:.2f}",
                f"{row['top5']:.2f}",
                f"{row['others']:,d}",
                f"{file['bytes']:,d}" if file else "–",
                "–" if time is None else f"{time:.3f}",
            ]
        )
    header = ["", "top-1 %", "top-5 %", "images with another top class than torch's", "bytes", "ms per image"]
    yield Table(header, rows)
    yield Text(f"On the {test['images']:,d} images of the test split, each file in its runtime.", note=True)
    if test["logit_difference"] is not None:
        yield Text(
            f"Logits of the float file differ from torch's by at most {test['logit_difference']:.1g} of the greatest "
            f"one; {test['tolerance']:g} is allowed.",
            note=True,
        )
    if latency["milliseconds"]:
        yield Text(
            f"Time: median of single runs, batch {latency['batch']}, {latency['threads']} thread, the files in turns, "
            f"on {latency['machine']}.",
            note=True,
        )
    files = [[name, file["sha256"], f"{file['bytes']:,d}"] for name, file in content["files"].items()]
    yield Table(["file", "SHA-256", "bytes"], files, labels=2)


def _int8(content: Mapping[str, Any]) -> Iterator[Block]:
    if (int8 := content["int8"]) is None:
        return
    yield Heading("INT8")
    layers, drop, naive = int8["float_layers"], int8["drop"], int8["naive_drop"]
    yield Text(
        "Static quantisation by ONNX Runtime (QDQ; weights signed, per channel; activations unsigned, per tensor), "
        f"calibrated on {int8['calibration_images']:,d} training images. At most {int8['max_drop_points']:g} points of "
        f"top-1 may be lost against the float file. On {int8['choice_images']:,d} {int8['chosen_on']} images, by which "
        f"layers were chosen, {naive['points']:.2f} ± {naive['error']:.2f} points are lost with all layers in INT8, "
        f"{drop['points']:.2f} ± {drop['error']:.2f} as it is here; the standard error counts as lost. On the test "
        f"split, which chose nothing, {int8['test_drop_points']:.2f} are.",
    )
    if int8["chosen_on"] == "training":
        yield Text("No images were kept out of training: layers were chosen on training images.", note=True)
    if not layers:
        yield Text(f"All {int8['layers']} layers are in INT8.")
    else:
        yield Text(
            f"{len(layers)} of {int8['layers']} layers stayed in float, the one that hurts most first: ",
            *[part for layer in layers for part in (Code(layer), ", ")][:-1],
            f". In INT8 are {100 * int8['macs_share']:.0f} % of the MACs.",
        )
    yield Text(
        "On x86 processors without VNNI instructions, 8-bit products may saturate in ONNX Runtime: measure the "
        "accuracy there again.",
        note=True,
    )


def _origin(content: Mapping[str, Any]) -> Iterator[Block]:
    data, run = content["data"], content["training"]
    yield Heading("Where it comes from")
    yield Text(
        f"Data: {data['name']}; batch norm recalibrated on {data['recalibration_images']:,d} training images."
        if data["recalibration_images"]
        else f"Data: {data['name']}; batch norm as published."
    )
    if run is not None:
        yield Text(
            f"Trained as {run['name']} ({run['approach']}, seed {run['seed']}): {run['epochs']:g} epochs of "
            f"{run['dataset']}, {run['validation_samples']:,d} images kept out. The whole recipe: ",
            Code(RECIPE),
            " (",
            Code(f"deps train {RECIPE}"),
            ").",
        )
    yield Text("Made by ", Code(content["command"]), ".")
    yield Text(", ".join(f"{name} {number}" for name, number in content["versions"].items()), note=True)


def _running(content: Mapping[str, Any]) -> Iterator[Block]:
    yield Heading("Running it")
    given = content["input"]
    for name in content["files"]:
        code = _RUN_TORCH if name.endswith(".pt2") else _RUN_ONNX
        filled = code.format(file=name, side=content["resolution"], mean=given["mean"], std=given["std"])
        yield Listing(filled.strip(), "python")
