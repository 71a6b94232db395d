"""A small network with images on which it is always right, and its ONNX file, made once."""

from functools import cache
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from data_shards.loading.loader import Batch
from pipeline.deploy.images import Images
from pipeline.deploy.onnx_graph import to_onnx
from pipeline.deploy.program import to_program
from pipeline.evaluation.recalibrate import recalibrate
from pipeline.supernet.extract import extract
from pipeline.supernet.fold import fold_batch_norm
from tests.pipeline.supernet.spaces import TOY
from tests.pipeline.supernet.test_supernet import lively

SIDE = 16
SUBNET = TOY.smallest()


def pictures(count: int, seed: int) -> Tensor:
    """Coloured noise, another colour and contrast in each: uint8 [N, SIDE, SIDE, 3]."""
    draws = np.random.default_rng(seed)
    colours, contrasts = draws.uniform(0, 255, (count, 1, 1, 3)), draws.uniform(20, 120, (count, 1, 1, 1))
    noise = contrasts * draws.standard_normal((count, SIDE, SIDE, 3))
    return torch.from_numpy(np.clip(colours + noise, 0, 255).astype(np.uint8))


def labelled(network: nn.Module, count: int, seed: int) -> Images:
    """Images with the classes that `network` takes them for."""
    batches = []
    for pixels in pictures(count, seed).split(64):
        unlabelled = Batch(
            pixels, torch.zeros(len(pixels), dtype=torch.int64), torch.arange(len(pixels)), torch.empty(0)
        )
        [images] = Images((unlabelled,)).normalised()
        with torch.no_grad():
            batches.append(unlabelled._replace(labels=network(images).argmax(1)))
    return Images(tuple(batches))


@cache
def network() -> nn.Module:
    plain = extract(lively(TOY), SUBNET)
    recalibrate(plain, labelled(plain, 128, seed=1).normalised())
    with torch.no_grad():  # all classes about as likely
        for batch in labelled(plain, 128, seed=1).normalised():
            classifier = plain.get_submodule("classifier")
            assert isinstance(classifier, nn.Linear)
            logits = plain(batch)
            classifier.bias -= logits.mean(0)
            break
    return plain


@cache
def program() -> ExportedProgram:
    contiguous: Any = torch.contiguous_format
    return to_program(fold_batch_norm(network()).to(memory_format=contiguous), SIDE)


@cache
def onnx_file() -> bytes:
    return to_onnx(program())


def with_wide_channel(model: bytes, factor: float = 1000) -> bytes:
    """The same function, in which one channel between two layers has values `factor` times as large as the others'."""
    graph = onnx.load_from_string(model)
    for name, by in (("expand.weight", factor), ("expand.bias", factor), ("depthwise.weight", 1 / factor)):
        [tensor] = [each for each in graph.graph.initializer if each.name == f"blocks.0.{name}"]
        values = onnx.numpy_helper.to_array(tensor).copy()
        values[0] *= by  # between them is a ReLU
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    return graph.SerializeToString()
