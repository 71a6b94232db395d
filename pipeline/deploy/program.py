"""A plain network as a program of torch's own (`torch.export`), which runs where this project is not installed."""

from __future__ import annotations

import io
import warnings

import torch
from torch import nn
from torch.export import Dim, ExportedProgram


def to_program(network: nn.Module, side: int) -> ExportedProgram:
    """The program of `network` for images [N, 3, side, side] of any N.

    Args:
        network: plain, in evaluation mode, its layers in contiguous layout: pooling in channels_last is traced as
            reading memory at strides, which other runtimes have to imitate by index arithmetic.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch's own, about its trees
        program = torch.export.export(network, (torch.zeros(2, 3, side, side),), dynamic_shapes=({0: Dim("batch")},))
    for node in program.graph_module.graph.nodes:
        node.meta.pop("stack_trace", None)  # paths of this machine, which would go with every file
    return program


def content_of(program: ExportedProgram) -> bytes:
    """What a `.pt2` file of the program holds; `torch.export.load` reads it."""
    content = io.BytesIO()
    torch.export.save(program, content)
    return content.getvalue()


def load_program(content: bytes) -> nn.Module:
    """The network in such a file."""
    return torch.export.load(io.BytesIO(content)).module()
