"""Batch norm folded into the convolutions before it: the same function in fewer layers, for where subnets run."""

from __future__ import annotations

import copy
from itertools import pairwise

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from pipeline.supernet.plain import Path


@torch.no_grad()
def fold_batch_norm(network: nn.Module) -> nn.Module:
    """A copy of a plain network, or of one of its blocks, in which each batch norm is part of the convolution before.

    The convolutions have their names, and a bias now; in the batch norms' places are identities. Equal to rounding.

    Args:
        network: of `pipeline.supernet.extract` or a block's `plain`, in evaluation mode. Its running statistics are
            folded, so it is recalibrated before.
    """
    folded = copy.deepcopy(network)
    instead: dict[nn.Module, nn.Module] = {}
    for parent in list(folded.modules()):
        # Plain networks have a convolution's batch norm right behind it, also where they do not call them as steps.
        for (name, layer), (norm_name, norm) in pairwise(list(parent.named_children())):
            if isinstance(layer, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                instead[layer], instead[norm] = fuse_conv_bn_eval(layer, norm), nn.Identity()
                parent.add_module(name, instead[layer])
                parent.add_module(norm_name, instead[norm])
    for part in folded.modules():
        if isinstance(part, Path):
            part.steps = [instead.get(step, step) for step in part.steps]
    return folded
