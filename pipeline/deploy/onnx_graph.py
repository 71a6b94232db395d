"""A program of torch's as an ONNX graph, by torch's dynamo exporter."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.export import ExportedProgram

INPUT, OUTPUT = "images", "logits"


def to_onnx(program: ExportedProgram) -> bytes:
    """The ONNX file of `program`: input `images` float32 [batch, 3, side, side], output `logits` [batch, classes].

    Weights are in it, under the names of the network's state.
    """
    with _silently():
        exported = torch.onnx.export(
            program, dynamo=True, input_names=[INPUT], output_names=[OUTPUT], external_data=False, verbose=False
        )
    assert exported is not None
    model = exported.model_proto
    for part in (*model.graph.node, *model.graph.input, *model.graph.output):
        part.ClearField("metadata_props")  # how torch came to it, which no runtime reads
    return model.SerializeToString(deterministic=True)


@contextmanager
def _silently() -> Iterator[None]:
    """Without the exporter's remarks on packages that it could export from as well."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
