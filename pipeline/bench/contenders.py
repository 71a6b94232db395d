"""One sandwich step in different hands, all with the same weights, subnets, images and losses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from data_shards.augmentation.config import Augmentation
from data_shards.loading.batch_reader import Batch
from kernels.dispatch import KernelChoice
from kernels.losses.choice import losses_for
from pipeline.bench.ofa_style import OfaStyleStep, OfaStyleSupernet
from pipeline.engines.optimizer import SgdConfig
from pipeline.engines.protocol import copy_momentum
from pipeline.engines.single import SingleEngine
from pipeline.forecast.trial_steps import made_up_batch
from pipeline.methods.deps import DepsConfig
from pipeline.methods.learning_rate import LearningRateConfig
from pipeline.methods.losses import Targets
from pipeline.methods.phases import FULL, StepPlan
from pipeline.methods.schedule import Schedule
from pipeline.supernet.extract import extract
from pipeline.supernet.space import Space
from pipeline.supernet.supernet import Supernet
from pipeline.training.feed import to_device
from pipeline.training.sandwich import sandwich_step

# Without weight decay, the momentum after the first step is its gradient, which is how contenders are compared.
_OPTIMIZER = SgdConfig(weight_decay=0)


class StepContender(Protocol):
    """Trains on one batch at a time.

    Attributes:
        shares_weights: whether the subnets do.
    """

    shares_weights: bool

    def lay_out(self, images: Tensor) -> Tensor:
        """Images [N, 3, H, W] in the memory format that it likes best."""
        ...

    def step(self, images: Tensor, labels: Tensor) -> Sequence[Tensor | float]:
        """Train, and return the loss of each subnet."""
        ...

    def first_gradient(self) -> Mapping[str, Tensor]:
        """The first step's gradient by the supernet's parameters, after it; empty where weights are not shared."""
        ...


class SupernetStep:
    """The supernet and the sandwich step of training, with the operations of `kernels`."""

    shares_weights = True

    def __init__(self, supernet: Supernet, plan: StepPlan) -> None:
        self.engine, self.plan = SingleEngine(supernet, _OPTIMIZER), plan

    def lay_out(self, images: Tensor) -> Tensor:
        return images.contiguous(memory_format=torch.channels_last)

    def step(self, images: Tensor, labels: Tensor) -> Sequence[Tensor]:
        return sandwich_step(self.engine, self.plan, images, labels).losses

    def first_gradient(self) -> Mapping[str, Tensor]:
        return copy_momentum(self.engine.supernet, self.engine.optimizer)


class OfaStyle:
    """See `pipeline.bench.ofa_style`."""

    shares_weights = True

    def __init__(self, supernet: OfaStyleSupernet, plan: StepPlan) -> None:
        self._step = OfaStyleStep(supernet, plan)

    def lay_out(self, images: Tensor) -> Tensor:
        return images.contiguous()

    def step(self, images: Tensor, labels: Tensor) -> Sequence[float]:
        return self._step(images, labels)

    def first_gradient(self) -> Mapping[str, Tensor]:
        return copy_momentum(self._step.supernet, self._step.optimizer)


class PlainNetworks:
    """The subnets as static networks of torch's own layers, each with its own weights: nothing is sliced or shared.

    Compiled on GPUs.
    """

    shares_weights = False

    def __init__(self, supernet: Supernet, plan: StepPlan) -> None:
        self._plan, self._bf16, self._device = plan, supernet.bf16, next(supernet.parameters()).device
        self._losses = losses_for(supernet.operations(self._device.type).name)
        networks = [extract(supernet, slot.subnet).train().to(self._device) for slot in plan.slots]
        parameters = [parameter for network in networks for parameter in network.parameters()]
        fused = self._device.type == "cuda"
        self._optimizer = torch.optim.SGD(parameters, plan.learning_rate, momentum=0.9, nesterov=True, fused=fused)
        self._networks: Sequence[Callable[[Tensor], Tensor]] = (
            [_compiled(network) for network in networks] if fused else networks
        )

    def lay_out(self, images: Tensor) -> Tensor:
        return images.contiguous(memory_format=torch.channels_last)

    def step(self, images: Tensor, labels: Tensor) -> Sequence[Tensor]:
        losses: list[Tensor] = []
        targets = Targets(labels)
        for slot, network in zip(self._plan.slots, self._networks, strict=True):
            with torch.autocast(self._device.type, torch.bfloat16, enabled=self._bf16):
                logits = network(images)
            loss = slot.loss(logits.float(), targets, self._losses)
            (slot.scale * loss).backward()
            losses.append(loss.detach())
            if slot.name == FULL:
                targets = targets._replace(full=logits.detach().float())
        self._optimizer.step()
        self._optimizer.zero_grad()
        return losses

    def first_gradient(self) -> Mapping[str, Tensor]:
        return {}


def _compiled(network: nn.Module) -> Callable[[Tensor], Tensor]:
    """`network` compiled to one graph for each batch size, which is how compilation is fastest."""
    # All networks share their class's code, of which torch compiles no more graphs than this.
    torch._dynamo.config.recompile_limit = 64
    return torch.compile(network, dynamic=False, fullgraph=True)


# Kernels and class of each; ours first, whose time the ratios are to.
_CONTENDERS: dict[str, tuple[KernelChoice, Callable[[Any, StepPlan], StepContender]]] = {
    "ours": ("auto", SupernetStep),
    "strong eager": ("reference", SupernetStep),
    "plain networks": ("reference", PlainNetworks),
    "OFA style": ("reference", OfaStyle),
}
CONTENDERS = tuple(_CONTENDERS)

DESCRIPTIONS = {
    "ours": "the supernet with fused kernels",
    "strong eager": "the supernet in plain PyTorch: channels_last, bf16 on GPUs, stem shared",
    "plain networks": "the same subnets as static networks, weights not shared: channels_last, compiled on GPUs",
    "OFA style": "slices copied, NCHW, fp32, nothing fused, stem per subnet, waiting for each loss",
}


def build(
    name: str,
    space: Space,
    plan: StepPlan,
    weights: Mapping[str, Tensor],
    device: torch.device,
    float32: bool = False,
) -> StepContender:
    """The contender `name`, with a copy of `weights`.

    Args:
        float32: for comparison, also where it is timed in bfloat16 (on CUDA).
    """
    kernels, kind = _CONTENDERS[name]
    bf16 = device.type == "cuda" and kind is not OfaStyle and not float32
    supernet = (OfaStyleSupernet if kind is OfaStyle else Supernet)(space, bf16=bf16, kernels=kernels)
    supernet.load_state_dict(dict(weights))
    return kind(supernet.to(device), plan)


def exact(space: Space, plan: StepPlan, weights: Mapping[str, Tensor], device: torch.device) -> SupernetStep:
    """The truth: the supernet in plain PyTorch and float64."""
    supernet = Supernet(space, kernels="reference")
    supernet.load_state_dict(dict(weights))
    return SupernetStep(supernet.double().to(device), plan)


def sandwich_plan(space: Space) -> StepPlan:
    """Full, smallest and two random subnets with ε = 1."""
    settings: dict[str, Any] = {"duration": "1 steps", "full_model_warmup": "0 steps", "epsilon_ramp": "0 steps"}
    config = DepsConfig(learning_rate=LearningRateConfig(base=0.01), **settings)
    return Schedule(config, space, steps_per_epoch=1, seed=0).at(0)


def initial_weights(space: Space) -> dict[str, Tensor]:
    """A supernet's weights, none of which is zero or one.

    As they are initialised, biases, batch norm and kernel matrices would hide what is left out or taken twice.
    """
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        supernet = Supernet(space, kernels="reference")
    with torch.no_grad():
        for name, parameter in supernet.named_parameters():
            if parameter.ndim == 1 or "transforms" in name:
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return {name: value.clone() for name, value in supernet.state_dict().items()}


def readers_batch(space: Space, size: int) -> Batch:
    """Random images and labels as a reader hands them over, always the same."""
    return made_up_batch(size, space.image_sides[-1], space.classes, Augmentation())


def fed(batch: Batch, device: torch.device) -> tuple[Tensor, Tensor]:
    """Images and labels on the device, as training feeds its step."""
    return to_device(batch, device, Augmentation(), classes=0)  # nothing is mixed


def batch(space: Space, size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Random images and labels on the device, always the same."""
    return fed(readers_batch(space, size), device)
