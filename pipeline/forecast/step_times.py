"""Step times of one process on one machine, measured once and kept, from which the costs of runs are told."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from data_shards.errors import ShardUsageError
from data_shards.open_data import open_data
from data_shards.store.part import PartOfSplit
from pipeline.engines.single import SingleConfig
from pipeline.errors import UsageError
from pipeline.evaluation.evaluate import Evaluator
from pipeline.files.json_file import DamagedError, checked, read_json, write_json
from pipeline.forecast.trial_steps import in_pairs, seconds_per_step
from pipeline.methods.schedule import Schedule
from pipeline.processes.group import Processes, launched_processes
from pipeline.recipe.recipe import Recipe
from pipeline.run.folder import machine
from pipeline.supernet.complexity import complexity
from pipeline.supernet.supernet import Supernet
from pipeline.tracking.ledger import process_start_time
from pipeline.training.build import build

# Images of the larger of the two trial steps. On a CPU as few as fit into a wait that people put up with: its time is
# in proportion to them. A GPU is busy only from many on.
_IMAGES_ON_GPU = 128
_EVALUATED_ON_GPU = 2048
_CPU_MACS = 4e9
_LEAST_IMAGES = 8


class StepTime(BaseModel):
    """Seconds of a step of n images: `fixed` + n × `per_image`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    fixed: float = Field(ge=0, allow_inf_nan=False)
    per_image: float = Field(ge=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _check(self) -> StepTime:
        if not self.fixed + self.per_image:
            raise ValueError("a step takes time")
        return self

    def __call__(self, images: int) -> float:
        return self.fixed + images * self.per_image


class StepTimes(BaseModel):
    """What was measured: the machine, what its steps compute, and the step time of each phase by its name.

    Attributes:
        computes: see `computed`.
        images: of the two trial steps that the times were measured on.
        evaluation: of the full model, by the number of images, reading included; None where the data was not there, and
            in files of earlier versions.
        start_seconds: from the start of a process to its first step; 0 in files of earlier versions.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    machine: str
    device: str
    computes: dict[str, Any]
    images: tuple[int, int]
    phases: dict[str, StepTime]
    evaluation: StepTime | None = None
    start_seconds: float = Field(default=0.0, ge=0, allow_inf_nan=False)

    @staticmethod
    def measure(recipe: Recipe, schedule: Schedule) -> StepTimes:
        """Trial steps of two sizes on this process, through the plain engine: what a process computes by itself."""
        with launched_processes() as processes:
            most = max(_LEAST_IMAGES, int(_CPU_MACS / complexity(schedule.space, schedule.space.largest()).macs))
            count = min(_IMAGES_ON_GPU if processes.device.type == "cuda" else most, recipe.batch_size)
            sizes = (in_pairs(count // 2), in_pairs(count))
            alone = {"engine": SingleConfig(), "batch_size": count}
            engine = build(recipe.model_copy(update=alone), schedule, processes)
            start = time.time() - process_start_time()
            evaluation = _evaluation(recipe, schedule, engine.whole_supernet(), most, processes)
            small, large = (seconds_per_step(recipe, engine, schedule, processes, size) for size in sizes)
            return StepTimes(
                machine=machine(processes.device),
                device=processes.device.type,
                computes=computed(recipe, schedule),
                images=sizes,
                phases={name: _line(sizes, (small[name], large[name])) for name in small},
                evaluation=evaluation,
                start_seconds=start,
            )

    @staticmethod
    def load(path: Path, recipe: Recipe, schedule: Schedule) -> StepTimes:
        """What `save` wrote.

        Raises:
            UsageError: where the file is none, or is about something else than the recipe.
        """
        try:
            times = checked(read_json(path), TypeAdapter(StepTimes))
        except OSError as error:
            raise UsageError(f"--measured {path}: {error.strerror}") from None
        except DamagedError as damage:
            raise UsageError(
                f"--measured {path}: holds no step times; deps plan … --save FILE writes them ({damage})"
            ) from None
        for what, ours in computed(recipe, schedule).items():
            if (theirs := times.computes.get(what)) != ours:
                raise UsageError(f"--measured {path}: is about {what} {theirs}; the recipe has {ours}")
        if missing := times.computes["subnets"].keys() - times.phases.keys():
            raise UsageError(f"--measured {path}: lacks the step time of phase {min(missing)}")
        return times

    def save(self, path: Path) -> None:
        """Raises UsageError where it cannot be written."""
        try:
            write_json(path, self.model_dump(mode="json"))
        except OSError as error:
            raise UsageError(f"--save {path}: cannot be written: {error.strerror}") from None


def computed(recipe: Recipe, schedule: Schedule) -> dict[str, Any]:
    """What a step's time follows from besides its images and the machine, as JSON values."""
    space = schedule.space
    return {
        "network": recipe.space.network,
        "resolutions": list(space.resolutions),
        "MACs": [complexity(space, subnet).macs for subnet in (space.smallest(), space.largest())],
        "precision": recipe.model.precision,
        "kernels": recipe.kernels,
        "subnets": {phase.name: list(phase.slot_names) for phase in schedule.phases},
    }


def _evaluation(
    recipe: Recipe, schedule: Schedule, supernet: Supernet, affordable: int, processes: Processes
) -> StepTime | None:
    """Evaluations of the full model on two numbers of the recipe's own images, if they are here."""
    try:
        data = open_data(recipe.data)
    except ShardUsageError:
        return None
    held_out = data.validation or data.test
    most = min(affordable if processes.device.type == "cpu" else _EVALUATED_ON_GPU, len(held_out))

    def seconds(images: int) -> float:
        part, config = PartOfSplit(held_out, np.arange(images)), recipe.evaluation
        few = config.model_copy(update={"recalibration_samples": images})
        began = time.perf_counter()
        Evaluator(data.train, part, recipe.data, few, processes).full_model(supernet)
        return time.perf_counter() - began

    sizes = (max(most // 8, 1), most)
    seconds(sizes[0])  # warms up
    each = 2 if len(schedule.space.image_sides) > 1 else 1  # the full model is recalibrated then
    return _line((sizes[0] * each, sizes[1] * each), (seconds(sizes[0]), seconds(sizes[1])))


def _line(sizes: tuple[int, int], seconds: tuple[float, float]) -> StepTime:
    """Through both points; never with a negative part, as noise could make it."""
    (few, many), (short, long) = sizes, seconds
    if many == few:
        return StepTime(fixed=0.0, per_image=long / many)
    per_image = min(max((long - short) / (many - few), 0.0), long / many)
    return StepTime(fixed=long - many * per_image, per_image=per_image)
