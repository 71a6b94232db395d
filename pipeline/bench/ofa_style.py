"""A sandwich step as once-for-all code bases do it: the baseline that our speed is a multiple of.

Every weight slice is copied, activations are NCHW float32, batch norm and h-swish are operations of their own, each
subnet computes the stem again, and the host waits for the losses and accuracies of each.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from kernels import reference
from kernels.operations import Operations
from pipeline.engines.optimizer import start_momentum
from pipeline.methods.losses import LossConfig
from pipeline.methods.phases import FULL, StepPlan
from pipeline.supernet.supernet import Supernet


class OfaStyleStep:
    """Trains the weights of `supernet` by SGD on the subnets of `plan`.

    Args:
        supernet: in training mode, without dropout.
    """

    def __init__(self, supernet: OfaStyleSupernet, plan: StepPlan) -> None:
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
            logits = self.supernet(images, slot.subnet)
            loss = _soft_target_loss(logits, soft)
            (slot.scale * loss).backward()
            losses.append(loss.item())
            accuracies.append(_accuracies(logits, labels))
            if slot.name == FULL:
                soft = F.softmax(logits.detach(), dim=1)
        self.optimizer.step()
        return losses


class OfaStyleSupernet(Supernet):
    """A supernet with `OfaStyleOperations`."""

    def operations(self, device: str) -> Operations:
        return OfaStyleOperations()


class OfaStyleOperations:
    """The operations of elastic layers, each by itself and on copies of the weights' slices; see `Operations`."""

    name = "OFA style"

    def pointwise_conv(self, x: Tensor, weight: Tensor, outputs: int) -> Tensor:
        return F.conv2d(x, weight[:outputs, : x.shape[1]].contiguous())

    def conv(self, x: Tensor, weight: Tensor, outputs: int, stride: int) -> Tensor:
        active = weight[:outputs, : x.shape[1]].contiguous()
        return F.conv2d(x, active, stride=stride, padding=weight.shape[-1] // 2)

    def depthwise_conv(
        self, x: Tensor, weight: Tensor, kernel: int, stride: int, transforms: Mapping[str, Tensor]
    ) -> Tensor:
        channels = x.shape[1]
        active = _kernel(weight[:channels].contiguous(), kernel, transforms)
        return F.conv2d(x, active, stride=stride, padding=kernel // 2, groups=channels)

    def batch_norm(
        self,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        running: tuple[Tensor, Tensor] | None,
        training: bool,
        momentum: float,
        epsilon: float,
        activation: str,
    ) -> Tensor:
        channels = x.shape[1]
        # Such code moves the statistics with every subnet.
        mean, variance = running or (torch.zeros_like(bias), torch.ones_like(bias))
        y = F.batch_norm(
            x, mean[:channels], variance[:channels], weight[:channels], bias[:channels], training, momentum, epsilon
        )
        return _h_swish(y) if activation == "h_swish" else reference.ACTIVATIONS[activation](y)

    def squeeze_excite(
        self, x: Tensor, reduce: tuple[Tensor, Tensor], expand: tuple[Tensor, Tensor], reduced: int
    ) -> Tensor:
        channels = x.shape[1]
        y = x.mean(3, keepdim=True).mean(2, keepdim=True)
        y = F.conv2d(y, reduce[0][:reduced, :channels, None, None].contiguous(), reduce[1][:reduced].contiguous())
        y = F.relu(y)
        y = F.conv2d(y, expand[0][:channels, :reduced, None, None].contiguous(), expand[1][:channels].contiguous())
        return x * (F.relu6(y + 3) / 6)

    def settle(self, x: Tensor, shortcut: Tensor | None, activation: str = "identity") -> Tensor:
        return reference.ACTIVATIONS[activation](x if shortcut is None else shortcut + x)

    def pool(self, x: Tensor) -> Tensor:
        return x.mean(3, keepdim=True).mean(2, keepdim=True).flatten(1)

    def linear(self, x: Tensor, weight: Tensor, bias: Tensor | None, outputs: int) -> Tensor:
        weight = weight[:outputs, : x.shape[1]].contiguous()
        return F.linear(x, weight, None if bias is None else bias[:outputs].contiguous())


def _kernel(weight: Tensor, kernel: int, transforms: Mapping[str, Tensor]) -> Tensor:
    """The centre of each kernel, from size to size through the learned matrices."""
    sizes = range(weight.shape[-1] - 2, kernel - 2, -2)
    for smaller in sizes:
        centre = weight[:, :, 1:-1, 1:-1].contiguous()
        matrix = transforms.get(f"{smaller + 2}to{smaller}")
        weight = centre if matrix is None else F.linear(centre.view(-1, smaller**2), matrix).view(centre.shape)
    return weight


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
