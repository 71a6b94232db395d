"""Subnets of each network, and what they give: by weights and images that are a function of names and sizes alone."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tests.before import today

LOGITS = 4  # that are kept of each image

# Of the images, pixels: small, as float64 takes its time. Of MACs it is the subnet's own resolution.
SIDES = {"mobilenet_v3": 33, "mobilenet_v3_32px": 17, "mobilenet_v3_digits": 25}


def weights_for(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights and running statistics for a network with these names and shapes, none of them trivial."""
    weights = {}
    for name, tensor in state.items():
        values = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(tuple(tensor.shape))
        if name.endswith("running_var"):
            values = 0.5 + np.abs(values)
        elif ".transforms." in name:
            values = np.eye(len(values)) + 0.1 * values
        elif tensor.ndim > 1:
            values *= window(tensor.shape[2:])
            values *= np.sqrt(2 / (tensor.shape[1] * (window(tensor.shape[2:]) ** 2).sum()))
        else:
            values = 0.3 * values + (1 if name.endswith("bn.weight") else 0)
        weights[name] = torch.from_numpy(values)
    return weights


def window(sides: Sequence[int]) -> np.ndarray:
    """Factors of a kernel's positions, less the farther from its centre: so its smaller centres pass on as much."""
    squares = np.zeros(tuple(sides))
    for axis, side in enumerate(sides):
        squares += np.expand_dims((np.arange(side) - side // 2) ** 2, tuple(set(range(len(sides))) - {axis}))
    return 1 / (1 + squares)


def images_of(side: int) -> Tensor:
    """Two normalised images, float64 [2, 3, side, side]."""
    return torch.from_numpy(np.random.default_rng(side).standard_normal((2, 3, side, side)))


def figures(network: str, subnets: list[str]) -> dict[str, dict[str, Any]]:
    """By text of the subnet: MACs, parameters, some logits, and the greatest of all, their scale."""
    supernet = today.supernet(network)
    supernet.load_state_dict(weights_for(supernet.state_dict()))
    images, found = images_of(SIDES[network]), {}
    for text in subnets:
        subnet = supernet.space.parse(text)
        with torch.no_grad():
            logits = supernet(images, subnet)
        macs, parameters = today.size(supernet.space, subnet)
        found[str(subnet)] = {
            "macs": macs,
            "parameters": parameters,
            "logits": [round(each, 7) for each in logits[:, :LOGITS].flatten().tolist()],
            "scale": round(float(logits.abs().max()), 7),
        }
    return found
