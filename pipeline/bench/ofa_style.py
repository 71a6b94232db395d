"""A sandwich step as once-for-all code bases do it: the baseline that our speed is a multiple of.

Every weight slice is copied, activations are NCHW float32, batch norm and h-swish are operations of their own, each
subnet computes the stem again, and the host waits for the losses and accuracies of each.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.engines.optimizer import start_momentum
from pipeline.methods.losses import LossConfig
from pipeline.methods.schedule import StepPlan
from pipeline.supernet.layers import ElasticBatchNorm, ElasticDepthwise, ElasticSqueezeExcite
from pipeline.supernet.mobilenet_v3 import ElasticMBConv, Supernet
from pipeline.supernet.space import BlockShape, Subnet


class OfaStyleStep:
    """Trains the weights of `supernet` by SGD on the subnets of `plan`.

    Args:
        supernet: in training mode, without dropout; only its weights and its space are used.
    """

    def __init__(self, supernet: Supernet, plan: StepPlan) -> None:
        self.supernet, self.plan = supernet, plan
        self.optimizer = torch.optim.SGD(supernet.parameters(), plan.learning_rate, momentum=0.9, nesterov=True)
        start_momentum(self.optimizer)

    def __call__(self, images: Tensor, labels: Tensor) -> list[float]:
        """One step on images [N, 3, H, W], NCHW; the mean loss of each subnet."""
        self.optimizer.zero_grad()
        losses: list[float] = []
        accuracies: list[tuple[float, float]] = []
        soft = _smoothed(labels, self.supernet.space.classes, LossConfig().label_smoothing)
        for slot in self.plan.slots:
            logits = ofa_style_logits(self.supernet, images, slot.subnet)
            loss = _soft_target_loss(logits, soft)
            (slot.scale * loss).backward()
            losses.append(loss.item())
            accuracies.append(_accuracies(logits, labels))
            if slot.role == "full":
                soft = F.softmax(logits.detach(), dim=1)
        self.optimizer.step()
        return losses


def ofa_style_logits(supernet: Supernet, images: Tensor, subnet: Subnet) -> Tensor:
    """Logits [N, classes] of `subnet` in training mode, with the supernet's weights."""
    x = F.conv2d(images, supernet.stem.weight, stride=supernet.space.stem_stride, padding=1)
    x = _h_swish(_batch_norm(supernet.stem_bn, x))
    for shape in supernet.space.blocks(subnet):
        block = supernet.blocks[shape.index]
        assert isinstance(block, ElasticMBConv)
        x = _mbconv(block, x, shape)
    x = _h_swish(_batch_norm(supernet.final_bn, _pointwise(supernet.final_expand.weight, x, supernet.space.last[0])))
    x = x.mean(3, keepdim=True).mean(2, keepdim=True)
    x = _h_swish(F.conv2d(x, supernet.feature_mix.weight[:, :, None, None]))
    return F.linear(x.flatten(1), supernet.classifier.weight, supernet.classifier.bias)


def _mbconv(block: ElasticMBConv, x: Tensor, shape: BlockShape) -> Tensor:
    activation: Callable[[Tensor], Tensor] = F.relu if shape.activation == "relu" else _h_swish
    y = x
    if shape.has_expand_conv:
        y = activation(_batch_norm(block.expand_bn, _pointwise(block.expand.weight, y, shape.expanded)))
    weight = _kernel(block.depthwise, shape.expanded, shape.kernel)
    y = F.conv2d(y, weight, stride=shape.stride, padding=shape.kernel // 2, groups=shape.expanded)
    y = activation(_batch_norm(block.depthwise_bn, y))
    if shape.squeeze_excite:
        y = _squeeze_excite(block.squeeze_excite, y, shape.reduced)
    y = _batch_norm(block.project_bn, _pointwise(block.project.weight, y, shape.outputs))
    return x + y if shape.has_residual else y


def _pointwise(weight: Tensor, x: Tensor, outputs: int) -> Tensor:
    return F.conv2d(x, weight[:outputs, : x.shape[1]].contiguous())


def _kernel(layer: ElasticDepthwise, channels: int, kernel: int) -> Tensor:
    """The centre of each kernel, from size to size through the learned matrices."""
    weight = layer.weight[:channels].contiguous()
    sizes = range(weight.shape[-1] - 2, kernel - 2, -2)
    for smaller in sizes:
        centre = weight[:, :, 1:-1, 1:-1].contiguous()
        matrix = layer.transforms[f"{smaller + 2}to{smaller}"]
        weight = F.linear(centre.view(-1, smaller**2), matrix).view(centre.shape)
    return weight


def _batch_norm(layer: ElasticBatchNorm, x: Tensor) -> Tensor:
    channels = x.shape[1]
    running = (layer.running_mean[:channels], layer.running_var[:channels])
    scale, shift = layer.weight[:channels], layer.bias[:channels]
    return F.batch_norm(x, *running, scale, shift, True, layer.momentum, layer.epsilon)


def _squeeze_excite(layer: ElasticSqueezeExcite, x: Tensor, reduced: int) -> Tensor:
    channels = x.shape[1]
    y = x.mean(3, keepdim=True).mean(2, keepdim=True)
    reduce = layer.reduce.weight[:reduced, :channels, None, None].contiguous()
    y = F.relu(F.conv2d(y, reduce, layer.reduce.bias[:reduced].contiguous()))
    expand = layer.expand.weight[:channels, :reduced, None, None].contiguous()
    y = F.conv2d(y, expand, layer.expand.bias[:channels].contiguous())
    return x * (F.relu6(y + 3) / 6)


def _h_swish(x: Tensor) -> Tensor:
    return x * F.relu6(x + 3) / 6


def _smoothed(labels: Tensor, classes: int, smoothing: float) -> Tensor:
    return F.one_hot(labels, classes) * (1 - smoothing) + smoothing / classes


def _soft_target_loss(logits: Tensor, target: Tensor) -> Tensor:
    return (-target * F.log_softmax(logits, dim=1)).sum(1).mean()


def _accuracies(logits: Tensor, labels: Tensor) -> tuple[float, float]:
    """Top-1 and top-5, read back as such code does after every subnet."""
    hits = logits.topk(5)[1] == labels[:, None]
    return hits[:, :1].float().sum().item(), hits.float().sum().item()
