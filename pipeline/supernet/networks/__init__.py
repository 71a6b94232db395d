"""The networks by name, and the recipe's choice among them."""

from __future__ import annotations

from typing import Annotated, Any, get_args

from pipeline.by_name import ByName, models_of
from pipeline.errors import UsageError
from pipeline.supernet.networks.attentive_nas import AttentiveNasConfig
from pipeline.supernet.networks.config import NetworkConfig
from pipeline.supernet.networks.mobilenet_v3 import MobileNetV3Config
from pipeline.supernet.networks.proxyless import ProxylessConfig
from pipeline.supernet.networks.resnet50 import ResNet50Config
from pipeline.supernet.space import Space
from pipeline.supernet.subnet import SubnetError

# The recipe's `space`. A new network is a file with its configuration, which builds its space, and a name here.
SpaceConfig = Annotated[
    MobileNetV3Config | ProxylessConfig | ResNet50Config | AttentiveNasConfig, ByName(key="network")
]

_CONFIGS: dict[str, type[NetworkConfig]] = {
    name: kind for kind in models_of(SpaceConfig) for name in get_args(kind.model_fields["network"].annotation)
}  # pyright: ignore[reportAssignmentType]  (all of them are networks')


def named(network: str, **settings: Any) -> NetworkConfig:
    """The configuration of a network of `NETWORKS`, with the recipe's keys of it in `settings`.

    Raises:
        UsageError: where it has no such keys.
    """
    kind = _CONFIGS[network]
    for key in settings:
        if key not in kind.model_fields:
            legal = ", ".join(sorted(kind.model_fields))
            raise UsageError(f"space.{key}: network '{network}' has no such key; legal keys: {legal}")
    return kind.model_validate({"network": network, **settings})


NETWORKS: dict[str, Space] = {name: named(name).space() for name in _CONFIGS}


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
