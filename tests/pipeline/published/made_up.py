"""State dicts in the layouts of the published files, with values by lot."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from tests.pipeline.published import layouts

Family = Literal["mobilenet_v3", "proxyless", "resnet50", "attentive_nas"]

# Variance of a layer's outputs over its inputs' mean square: with these the images still make a difference in the
# logits of the smallest subnet, whose layers have fewer inputs than the statistics expect, and the largest is finite.
_GAINS = {"mobilenet_v3": 1.8, "proxyless": 2.2, "resnet50": 1.4, "attentive_nas": 1.25}


def made_up_state(family: Family, seed: int = 0, classes: int = 1000, width: float | None = None) -> dict[str, Tensor]:
    """A supernet's state: float32, and int64 for `num_batches_tracked`.

    Args:
        width: multiplier of MobileNetV3 or Proxyless, by default the published 1.0 and 1.3.
    """
    generator = torch.Generator().manual_seed(seed)
    shapes = published_shapes(family, classes, width)
    return {name: _value(name, shape, _GAINS[family], generator) for name, shape in shapes.items()}


def published_shapes(family: Family, classes: int = 1000, width: float | None = None) -> dict[str, layouts.Shape]:
    """The shape of each tensor, by its published name."""
    scaled = {} if width is None else {"width": width}
    return dict(getattr(layouts, family)(classes=classes, **scaled))


def _value(name: str, shape: layouts.Shape, gain: float, generator: torch.Generator) -> Tensor:
    if name.endswith("num_batches_tracked"):
        return torch.tensor(1000)
    noise = torch.randn(shape, generator=generator)
    if name.endswith("_matrix"):
        return torch.eye(*shape) + 0.02 * noise
    if name.endswith(("running_var", ".bn.weight")):
        return 0.5 + torch.rand(shape, generator=generator)
    if len(shape) == 1:
        return 0.1 * noise
    return noise * math.sqrt(gain / math.prod(shape[1:]))
