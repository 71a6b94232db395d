"""`deps bench step`: seconds of one sandwich step, and of the same subnets in other hands, in one run."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.describe import named_space
from pipeline.engines.single import SingleEngine
from pipeline.errors import RunFailure
from pipeline.run_folder import machine
from pipeline.supernet.extract import as_channels_last, plain_network
from pipeline.supernet.mobilenet_v3 import Supernet
from pipeline.tables import print_json, print_table
from pipeline.training.learning_rate import LearningRateConfig
from pipeline.training.losses import LossConfig
from pipeline.training.optim import OptimizerConfig
from pipeline.training.sandwich import sandwich_step
from pipeline.training.schedule import Schedule, ScheduleConfig, StepPlan

_COLUMNS = {"contender": ("contender", ""), "seconds_per_step": ("s/step", ".3f"), "ratio": ("× ours", ".2f")}


def step_benchmark(network: str, batch_size: int, repeats: int) -> dict[str, Any]:
    """Median seconds of one step of full, smallest and two random subnets, for each contender, taken in turns.

    Contenders: our step (channels_last); the same in NCHW; the same four subnets as plain networks without shared
    weights (channels_last), which have nothing to slice.

    Raises:
        RunFailure: where a step's loss is not finite: no figure without a right result.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    space = named_space(network)
    config = ScheduleConfig(
        duration="1 steps",
        full_model_warmup="0 steps",
        epsilon_ramp="0 steps",
        learning_rate=LearningRateConfig(base=0.01),
    )
    plan = Schedule(config, space, steps_per_epoch=1, seed=0).at(0)
    torch.manual_seed(0)
    images = torch.randn(batch_size, 3, space.resolution, space.resolution, device=device)
    labels = torch.randint(space.classes, (batch_size,), device=device)
    channels_last = images.to(memory_format=torch.channels_last)

    engine = SingleEngine(Supernet(space).to(device), OptimizerConfig())
    plain = [as_channels_last(plain_network(space, slot.subnet)).to(device) for slot in plan.slots]
    optimizers = [torch.optim.SGD(each.parameters(), lr=0.01, momentum=0.9, nesterov=True) for each in plain]
    contenders: dict[str, Callable[[], Tensor]] = {
        "supernet, channels_last (ours)": lambda: _ours(engine, plan, channels_last, labels),
        "supernet, NCHW": lambda: _ours(engine, plan, images, labels),
        "plain networks, channels_last": lambda: _plain(plain, optimizers, channels_last, labels),
    }
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for repeat in range(repeats + 1):
        for name, step in contenders.items():
            began = time.perf_counter()
            loss = float(step())  # waits for the device
            if repeat:  # the first one warms up
                seconds[name].append(time.perf_counter() - began)
            if loss != loss:
                raise RunFailure(f"{name}: the loss is not a number; its time would mean nothing")
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    ours = next(iter(medians.values()))
    return {
        "network": network,
        "batch_size": batch_size,
        "resolution_px": space.resolution,
        "subnets": [str(slot.subnet) for slot in plan.slots],
        "contenders": [
            {"contender": name, "seconds_per_step": median, "ratio": median / ours} for name, median in medians.items()
        ],
        "machine": machine(device),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
    }


def print_step_benchmark(network: str, batch_size: int, repeats: int, as_json: bool) -> None:
    """Print what `step_benchmark` measures."""
    found = step_benchmark(network, batch_size, repeats)
    if as_json:
        print_json(found)
        return
    title = f"{network}, {found['resolution_px']} px, batch {batch_size}: full, smallest and two random subnets"
    print_table(title, found["contenders"], _COLUMNS)
    print(f"{found['machine']}; torch {found['versions']['torch']}, Python {found['versions']['python']}")


def _ours(engine: SingleEngine, plan: StepPlan, images: Tensor, labels: Tensor) -> Tensor:
    return sandwich_step(engine, plan, images, labels, LossConfig()).losses[0]


def _plain(networks: list[nn.Sequential], optimizers: list[torch.optim.SGD], images: Tensor, labels: Tensor) -> Tensor:
    teacher, total = None, torch.zeros((), device=images.device)
    for network, optimizer in zip(networks, optimizers, strict=True):
        logits = network(images)
        loss = F.cross_entropy(logits, labels if teacher is None else teacher.softmax(1))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        teacher = logits.detach() if teacher is None else teacher
        total = total + loss.detach()
    return total
