"""CUDA graphs of the subnets that every sandwich trains: the full model and the smallest one.

A graph replays the kernels of a whole forward or backward pass without the host's launching each of them, which small
subnets on a fast device spend most of their time on. It needs fixed shapes and addresses, so it is for subnets and a
batch size that never change, and for engines that leave the weights where they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.errors import UsageError
from pipeline.supernet.subnet import Subnet
from pipeline.supernet.supernet import Supernet

# By subnet, what was captured: from a trunk's features to logits, in training.
Graphs = dict[Subnet, Callable[[Tensor], Tensor]]


def capture(supernet: Supernet, subnets: Iterable[Subnet], images: Tensor) -> Graphs:
    """Graphs of `subnets` in training, for batches of the shape of `images` (normalised, on the device).

    Weights and running statistics are as before.

    Raises:
        UsageError: where the supernet is not on a CUDA device.
    """
    if images.device.type != "cuda":
        raise UsageError(f"model.cuda_graphs: needs a CUDA device, not {images.device.type}; set it to false")
    before = {name: buffer.clone() for name, buffer in supernet.named_buffers()}  # warming up moves them
    features = supernet.trunk(images, full=False).features.detach().requires_grad_(supernet.shares_trunk)
    graphs: Graphs = {subnet: _graph(supernet, subnet, features) for subnet in subnets}
    with torch.no_grad():
        for name, buffer in supernet.named_buffers():
            buffer.copy_(before[name])
    return graphs


def _graph(supernet: Supernet, subnet: Subnet, features: Tensor) -> Any:
    return torch.cuda.make_graphed_callables(
        _OneSubnet(supernet, subnet),
        (features,),
        allow_unused_input=True,  # the weights of other subnets
    )


class _OneSubnet(nn.Module):
    """Logits of one subnet from a trunk's features, as a module whose parameters are the supernet's."""

    def __init__(self, supernet: Supernet, subnet: Subnet) -> None:
        super().__init__()
        self.supernet, self.subnet = supernet, subnet
        self.train(supernet.training)

    def forward(self, features: Tensor) -> Tensor:
        return self.supernet.logits(features, self.subnet)
