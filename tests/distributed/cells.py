"""The cells of the matrix of engines: an engine, a situation that supernets put it into, and a precision.

A situation is five steps. The small space has kernels 3 and 5, and stages of one or two blocks, so that the full model
leaves the kernel transforms unused, and a subnet of depth 1 whole blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from pydantic import TypeAdapter
from torch import Tensor

from kernels import reference
from pipeline.engines import EngineConfig
from pipeline.engines.optimizer import SgdConfig
from pipeline.methods.deps import DepsConfig
from pipeline.methods.learning_rate import LearningRateConfig
from pipeline.methods.losses import AlphaDivergence, LabelCrossEntropy, SoftCrossEntropy
from pipeline.methods.phases import Pick, Slot, StepPlan
from pipeline.methods.schedule import Schedule
from pipeline.supernet.networks import NETWORKS
from pipeline.supernet.space import Space
from pipeline.supernet.supernet import Supernet

STEPS = 5
BATCH = 12  # splits over one, two and three processes
SPACE = NETWORKS["mobilenet_v3_digits"]
# The situation of each other network: its ramp.
OTHERS = {name: NETWORKS[f"{name}_digits"] for name in ("proxyless", "resnet50", "attentive_nas")}

# Small buckets, so that a step has many; all that `engine.deepspeed` lets a recipe set and that could matter.
BUCKETS: dict[str, Any] = {"reduce_bucket_size": 3000, "allgather_bucket_size": 5000}
STAGE_3: dict[str, Any] = {
    "stage3_prefetch_bucket_size": 2000,
    "stage3_max_live_parameters": 30000,
    "stage3_max_reuse_distance": 20000,
    "sub_group_size": 9000,
}
ENGINES: dict[str, dict[str, Any]] = {
    "single": {"name": "single"},
    "ddp": {"name": "ddp"},
    "fsdp": {"name": "fsdp"},
    "zero0": {"name": "deepspeed", "zero_stage": 0},
    "zero1": {"name": "deepspeed", "zero_stage": 1},
    "zero2": {"name": "deepspeed", "zero_stage": 2},
    # DeepSpeed leaves small weights whole, which here are all of them; 0 shards every one.
    "zero3": {
        "name": "deepspeed",
        "zero_stage": 3,
        "deepspeed": {"zero_optimization": {"stage3_param_persistence_threshold": 0}},
    },
    "zero3 whole": {"name": "deepspeed", "zero_stage": 3},
    "zero1 tuned": {
        "name": "deepspeed",
        "zero_stage": 1,
        "deepspeed": {"zero_optimization": {**BUCKETS, "contiguous_gradients": False}},
    },
    "zero2 tuned": {
        "name": "deepspeed",
        "zero_stage": 2,
        "deepspeed": {
            "zero_optimization": {**BUCKETS, "overlap_comm": True},
            "wall_clock_breakdown": False,
        },
    },
    "zero2 plain": {
        "name": "deepspeed",
        "zero_stage": 2,
        "deepspeed": {
            "zero_optimization": {"reduce_scatter": False, "allgather_partitions": False, "contiguous_gradients": False}
        },
    },
    "zero3 tuned": {
        "name": "deepspeed",
        "zero_stage": 3,
        "deepspeed": {
            "zero_optimization": {
                **BUCKETS,
                **STAGE_3,
                "overlap_comm": True,
                "stage3_param_persistence_threshold": 100,
                "stage3_model_persistence_threshold": 4000,
            }
        },
    },
}
CORE = ("ddp", "fsdp", "zero0", "zero1", "zero2", "zero3")
# Between them they have all there is of ways to reduce and to shard.
FOREMOST = ("ddp", "fsdp", "zero3")


@dataclass(frozen=True)
class Cell:
    engine: str
    situation: str
    precision: str = "fp32"
    recompute: bool = False

    @classmethod
    def parse(cls, text: str) -> Cell:
        engine, situation, precision, blocks = text.split("|")
        return cls(engine, situation, precision, blocks == "recomputed")

    def __str__(self) -> str:
        return f"{self.engine}|{self.situation}|{self.precision}|{'recomputed' if self.recompute else 'kept'}"

    @property
    def file(self) -> str:
        return f"{self}.pt".replace("|", "-").replace(" ", "_")

    @property
    def engine_config(self) -> EngineConfig:
        return TypeAdapter(EngineConfig).validate_python(ENGINES[self.engine])

    @property
    def counted_steps(self) -> tuple[int, ...]:
        """Steps of one and of three subnets whose collectives are counted; profiling takes longer than training."""
        return (0, STEPS - 1) if self.engine in CORE and self == Cell(self.engine, "ε ramp") else ()

    @property
    def plans(self) -> list[StepPlan]:
        return SITUATIONS[self.situation]()

    @property
    def freezes_at(self) -> int | None:
        """The step before which the weights become the teacher."""
        return 2 if self.situation == "frozen teacher" else None

    @property
    def optimizer(self) -> SgdConfig:
        return SgdConfig(
            weight_decay=1e-2,
            gradient_clip=0.5 if self.situation == "clip" else None,
            gradient_clip_value=0.02 if self.situation == "clip by value" else None,
        )

    def seed(self, step: int, rank: int) -> int:
        """Of what a process drops in a step."""
        return 100 * step + rank

    def supernet(self) -> Supernet:
        torch.manual_seed(0)
        kernels = "auto" if self.precision == "fp32 fused" else "reference"
        space = OTHERS.get("attentive_nas" if self.situation == "drop-connect" else self.situation, SPACE)
        drop_connect = 0.5 if self.situation == "drop-connect" else 0.0
        bf16 = self.precision == "bf16"
        return Supernet(space, 0.0, bf16, kernels, self.recompute, drop_connect)

    def functions(self) -> AbstractContextManager[Any]:
        """What to train inside: except for the fused operations, which have their own, with smooth activations."""
        return nullcontext() if self.precision == "fp32 fused" else smooth()


@contextmanager
def smooth() -> Iterator[None]:
    """Without the kinks of ReLU and its kin, at which a sum's last bit turns a gradient on or off.

    Else a rounding that differs between two engines would, on an unlucky machine, grow to 1e-5 in five steps.
    """
    activations = {"relu": F.softplus, "relu6": _smooth_relu6, "h_swish": F.silu}
    functions = {"relu": F.softplus, "hardswish": F.silu, "hardsigmoid": torch.sigmoid}
    with mock.patch.dict(reference.ACTIVATIONS, activations), mock.patch.multiple(F, **functions):
        yield


def _smooth_relu6(x: Tensor) -> Tensor:
    return F.softplus(x) - F.softplus(x - 6)


def ramp(space: Space = SPACE) -> list[StepPlan]:
    """One step of the full model alone, a ramp of two, then the supernet with ε = 1."""
    config = DepsConfig(
        duration=f"{STEPS} steps",
        full_model_warmup="3 steps",
        epsilon_ramp="2 steps",
        random_subnets=1,
        learning_rate=LearningRateConfig(base=0.05),
    )
    schedule = Schedule(config, space, steps_per_epoch=STEPS, seed=7)
    return [schedule.at(step) for step in range(STEPS)]


def transforms_unused() -> list[StepPlan]:
    """Kernel transforms used by the second sub-step only, and in two steps by none."""
    full, smallest = _slot("full", "d2.2-k5-e6-r32"), _slot("smallest", "d1.1-k3-e3-r32")
    return _plans([[full, smallest], [full], [full, smallest], [full], [full, smallest]])


def blocks_unused() -> list[StepPlan]:
    """Whole blocks that no sub-step uses, that only a later one does, and that only an earlier one does."""
    full, smallest = _slot("full", "d2.2-k5-e6-r32"), _slot("smallest", "d1.1-k3-e3-r32")
    shallow, half = _slot("random", "d1.1-k5-e4-r32"), _slot("random", "d2.1-k5-e6-r32")
    return _plans([[full, half], [smallest, shallow], [smallest, full], [half, smallest], [shallow]])


def frozen_teacher() -> list[StepPlan]:
    """Two steps of the full model, which then becomes the teacher of subnets: see `Cell.freezes_at`."""
    full, taught = _slot("full", "d2.2-k5-e6-r32"), SoftCrossEntropy("teacher", 1.0)
    smallest, half = (replace(_slot("subnet", text), loss=taught) for text in ("d1.1-k3-e3-r32", "d2.1-k5-e6-r32"))
    return _plans([[full], [full], [smallest, half], [full, half], [half]])


def alpha_divergence() -> list[StepPlan]:
    """Subnets that learn from the full model by the α-divergence."""
    loss = AlphaDivergence("full", 1.0, (-1.0, 1.0), 5.0)
    plans = []
    for plan in ramp():
        slots = [slot if slot.name == "full" else replace(slot, loss=loss) for slot in plan.slots]
        plans.append(replace(plan, slots=tuple(slots)))
    return plans


def candidates() -> list[StepPlan]:
    """Slots that pick one of three, the best or the worst, the full model among them."""
    plans = []
    for plan in ramp():
        generator = torch.Generator().manual_seed(plan.step)
        slots = []
        for slot in plan.slots:
            if slot.name == "random":
                others = (SPACE.largest(), *(SPACE.sample(generator) for _ in range(2)))
                pick = Pick(3, "worst" if plan.step % 2 else "best", LabelCrossEntropy(0.1))
                slot = replace(slot, subnet=others[0], candidates=others, pick=pick)
            slots.append(slot)
        plans.append(replace(plan, slots=tuple(slots)))
    return plans


# What the first network and method meet.
FIRST: dict[str, Callable[[], list[StepPlan]]] = {
    "frozen teacher": frozen_teacher,
    "transforms unused": transforms_unused,
    "blocks unused": blocks_unused,
    "clip": ramp,
    "ε ramp": ramp,
}
SITUATIONS: dict[str, Callable[[], list[StepPlan]]] = {
    **FIRST,
    **{name: partial(ramp, space) for name, space in OTHERS.items()},
    "α-divergence": alpha_divergence,
    "candidates": candidates,
    "clip by value": ramp,
    "drop-connect": partial(ramp, OTHERS["attentive_nas"]),
}


def batch(step: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The global batch of a step: images [N, 3, H, W] and labels [N]."""
    generator = torch.Generator().manual_seed(step)
    images = torch.randn(BATCH, 3, 16, 16, generator=generator)
    return images, torch.randint(10, (BATCH,), generator=generator)


def _slot(name: str, subnet: str) -> Slot:
    return Slot(name, SPACE.parse(subnet), LabelCrossEntropy(0.1), 1.0 if name == "full" else 0.7)


def _plans(slots: list[list[Slot]]) -> list[StepPlan]:
    return [replace(ramp()[-1], step=step, learning_rate=0.05, slots=tuple(each)) for step, each in enumerate(slots)]
