"""A subnet as a plain static network of torch's own layers, with weights copied out of the supernet."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pipeline.supernet.blocks import BLOCKS
from pipeline.supernet.layer import Layer
from pipeline.supernet.layers import ElasticDepthwise, leading
from pipeline.supernet.plain import Path, plain_layer
from pipeline.supernet.shapes import parts
from pipeline.supernet.space import Space
from pipeline.supernet.subnet import Subnet
from pipeline.supernet.supernet import Supernet


def plain_network(space: Space, subnet: Subnet) -> nn.Module:
    """An untrained static network with the shapes of `subnet`: images [N, 3, H, W] to logits [N, classes].

    Its modules have the names of the supernet's, so that the names of its state are names of the supernet's, too.
    """
    stem, stages, head = parts(space, subnet)
    steps: list[tuple[str, nn.Module]] = []
    for part in (*stem, *stages, *head):
        if isinstance(part, Layer):
            steps += plain_layer(part)
        else:
            steps.append((part.name, BLOCKS[part.kind].plain(part)))
    return Path(steps)


@torch.no_grad()
def extract(supernet: Supernet, subnet: Subnet) -> nn.Module:
    """`subnet` as a plain static network, weights copied, in evaluation mode and channels_last.

    It is on the supernet's device and in the precision of its weights. Its batch-norm statistics are the leading part
    of the full model's: recalibrate them before use (`pipeline.evaluation.recalibrate`), unless the subnet is the full
    model.
    """
    weight = next(supernet.parameters())
    network = plain_network(supernet.space, subnet).to(weight.device, weight.dtype)
    for name, tensor in network.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            tensor.copy_(_active(supernet, name, tensor.shape))
    return as_channels_last(network.eval())


def as_channels_last(network: nn.Module) -> nn.Module:
    """`network` with its convolution weights in channels_last, the layout that convolutions are fastest in."""
    return network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  (torch's stub lacks it)


def _active(supernet: Supernet, name: str, shape: torch.Size) -> Tensor:
    """What a subnet uses of the tensor `name` of the supernet's state, where it has this shape."""
    layer, _, part = name.rpartition(".")
    module = supernet.get_submodule(layer)
    if isinstance(module, ElasticDepthwise):
        channels, _, kernel, _ = shape
        return module.active_weight(channels, kernel)
    return leading(getattr(module, part), *shape)
