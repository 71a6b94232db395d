"""A subnet as a plain static network of torch's own layers, with weights copied out of the supernet."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pipeline.supernet.layers import ElasticBatchNorm, ElasticSqueezeExcite
from pipeline.supernet.mobilenet_v3 import ElasticMBConv, Supernet
from pipeline.supernet.space import BlockShape, Space, Subnet

_ACTIVATION_LAYERS = {"relu": nn.ReLU, "h_swish": nn.Hardswish}


class SqueezeExcite(nn.Module):
    def __init__(self, channels: int, reduced: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(channels, reduced),
            nn.ReLU(),
            nn.Linear(reduced, channels),
            nn.Hardsigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(x)[:, :, None, None]


class MBConv(nn.Module):
    """One static inverted bottleneck with the shapes of `shape`."""

    def __init__(self, shape: BlockShape) -> None:
        super().__init__()
        activation = _ACTIVATION_LAYERS[shape.activation]
        layers: list[nn.Module] = []
        if shape.has_expand_conv:
            layers += [*_conv_bn(shape.inputs, shape.expanded, 1), activation()]
        layers += [*_conv_bn(shape.expanded, shape.expanded, shape.kernel, shape.stride, shape.expanded), activation()]
        if shape.squeeze_excite:
            layers.append(SqueezeExcite(shape.expanded, shape.reduced))
        layers += _conv_bn(shape.expanded, shape.outputs, 1)
        self.layers = nn.Sequential(*layers)
        self.has_residual = shape.has_residual

    def forward(self, x: Tensor) -> Tensor:
        y = self.layers(x)
        return x + y if self.has_residual else y


def plain_network(space: Space, subnet: Subnet) -> nn.Sequential:
    """An untrained static network with the shapes of `subnet`: images [N, 3, H, W] to logits [N, classes]."""
    layers: list[nn.Module] = [*_conv_bn(3, space.stem, 3, space.stem_stride), nn.Hardswish()]
    layers += [MBConv(shape) for shape in space.blocks(subnet)]
    expanded, mixed = space.last
    layers += [*_conv_bn(space.stages[-1].channels, expanded, 1), nn.Hardswish()]
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(expanded, mixed, bias=False), nn.Hardswish()]
    return nn.Sequential(*layers, nn.Linear(mixed, space.classes))


@torch.no_grad()
def extract(supernet: Supernet, subnet: Subnet) -> nn.Sequential:
    """`subnet` as a plain static network on the same device, weights copied, in evaluation mode and channels_last.

    Its batch-norm statistics are the leading part of the full model's: recalibrate them before use
    (`pipeline.evaluation.recalibrate`), unless the subnet is the full model.
    """
    network = plain_network(supernet.space, subnet).to(supernet.stem.weight.device)
    pairs = _tensor_pairs(supernet, subnet)
    state = network.state_dict()
    names = [name for name in state if not name.endswith("num_batches_tracked")]
    for name, source in zip(names, pairs, strict=True):
        state[name].copy_(source)
    return as_channels_last(network.eval())


def as_channels_last(network: nn.Sequential) -> nn.Sequential:
    """`network` with its convolution weights in channels_last, the layout that convolutions are fastest in."""
    return network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  (torch's stub lacks it)


def _conv_bn(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [convolution, nn.BatchNorm2d(outputs)]


def _tensor_pairs(supernet: Supernet, subnet: Subnet) -> list[Tensor]:
    """The active part of every tensor of the supernet, in the order of the plain network's state."""
    shapes = list(supernet.space.blocks(subnet))
    tensors = [supernet.stem.weight, *_bn(supernet.stem_bn, supernet.space.stem)]
    for shape in shapes:
        block = supernet.blocks[shape.index]
        assert isinstance(block, ElasticMBConv)
        tensors += _mbconv(block, shape)
    expanded = supernet.space.last[0]
    tensors += [supernet.final_expand.weight, *_bn(supernet.final_bn, expanded)]
    return [*tensors, supernet.feature_mix.weight, supernet.classifier.weight, supernet.classifier.bias]


def _mbconv(block: ElasticMBConv, shape: BlockShape) -> list[Tensor]:
    tensors: list[Tensor] = []
    if shape.has_expand_conv:
        tensors += [block.expand.weight[: shape.expanded, : shape.inputs], *_bn(block.expand_bn, shape.expanded)]
    tensors.append(block.depthwise.active_weight(shape.expanded, shape.kernel))
    tensors += _bn(block.depthwise_bn, shape.expanded)
    if shape.squeeze_excite:
        tensors += _squeeze_excite(block.squeeze_excite, shape)
    tensors.append(block.project.weight[: shape.outputs, : shape.expanded])
    return tensors + _bn(block.project_bn, shape.outputs)


def _squeeze_excite(layer: ElasticSqueezeExcite, shape: BlockShape) -> list[Tensor]:
    return [
        layer.reduce.weight[: shape.reduced, : shape.expanded],
        layer.reduce.bias[: shape.reduced],
        layer.expand.weight[: shape.expanded, : shape.reduced],
        layer.expand.bias[: shape.expanded],
    ]


def _bn(layer: ElasticBatchNorm, channels: int) -> list[Tensor]:
    return [tensor[:channels] for tensor in (layer.weight, layer.bias, layer.running_mean, layer.running_var)]
