"""The networks by name, and the recipe's choice among them."""

from __future__ import annotations

from typing import get_args

from pipeline.supernet.networks.config import NetworkConfig
from pipeline.supernet.networks.mobilenet_v3 import MobileNetV3Config
from pipeline.supernet.space import Space
from pipeline.supernet.subnet import SubnetError

# The recipe's `space`: of one kind of networks or another, told apart by `network`.
SpaceConfig = MobileNetV3Config
KINDS: tuple[type[NetworkConfig], ...] = (MobileNetV3Config,)

NETWORKS: dict[str, Space] = {
    name: kind.model_validate({"network": name}).space()
    for kind in KINDS
    for name in get_args(kind.model_fields["network"].annotation)
}


def build_space(config: NetworkConfig, classes: int | None = None) -> Space:
    """The space that a recipe describes.

    Args:
        classes: the data set's number of classes, taken where the recipe gives none.

    Raises:
        SubnetError: where the recipe's class count is not the data set's.
    """
    if config.classes and classes and config.classes != classes:
        raise SubnetError(f"space.classes: the recipe says {config.classes}, the data set has {classes} classes")
    return config.space(classes)
