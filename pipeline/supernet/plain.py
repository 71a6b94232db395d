"""Plain networks: torch's own layers, under the names that they have in the supernet."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn

from pipeline.supernet.layer import Layer
from pipeline.supernet.layers import resize

ACTIVATIONS = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "h_swish": nn.Hardswish,
    "swish": nn.SiLU,
    "h_sigmoid": nn.Hardsigmoid,
}


class Path(nn.Module):
    """Modules by name, called one after the other.

    Args:
        steps: name and module; a name may have one dot, which makes what is before it a part that holds modules.
    """

    def __init__(self, steps: Iterable[tuple[str, nn.Module]]) -> None:
        super().__init__()
        self.steps: list[nn.Module] = []  # a plain list, whose modules are registered by their names alone
        for name, module in steps:
            part, _, leaf = name.rpartition(".")
            if part and part not in self._modules:
                self.add_module(part, nn.Module())
            self.get_submodule(part).add_module(leaf, module)
            self.steps.append(module)

    def forward(self, x: Tensor) -> Tensor:
        for step in self.steps:
            x = step(x)
        return x


class Resize(nn.Module):
    """Images [N, 3, H, W] to [N, 3, side, side]: bicubic, not antialiased; those of that width as they are."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(self, x: Tensor) -> Tensor:
        return resize(x, self.side)


def plain_layer(layer: Layer) -> list[tuple[str, nn.Module]]:
    """The untrained layer, its batch norm and its activation, as steps of a `Path`."""
    steps = [(layer.name, _layer(layer))]
    if layer.norm is not None:
        steps.append((layer.norm, nn.BatchNorm2d(layer.outputs, eps=layer.epsilon)))
    if layer.activation != "identity":
        steps.append((f"{layer.name}_activation", ACTIVATIONS[layer.activation]()))
    return steps


def _layer(layer: Layer) -> nn.Module:
    if layer.kind == "pool":
        return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    if layer.kind == "max_pool":
        return nn.MaxPool2d(layer.kernel, layer.stride, layer.kernel // 2)
    if layer.kind == "resize":
        return Resize(layer.side)
    if layer.kind == "linear":
        return nn.Linear(layer.inputs, layer.outputs, bias=layer.bias)
    groups = layer.outputs if layer.kind == "depthwise" else 1
    padding = layer.kernel // 2
    return nn.Conv2d(layer.inputs, layer.outputs, layer.kernel, layer.stride, padding, groups=groups, bias=layer.bias)
