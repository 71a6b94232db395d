"""Step times of one process on one machine, measured once and kept: what plans for many processes are made from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from pipeline.engines.single import SingleConfig
from pipeline.errors import UsageError
from pipeline.files.json_file import DamagedError, checked, read_json, write_json
from pipeline.forecast.trial_steps import in_pairs, seconds_per_step
from pipeline.methods.schedule import Schedule
from pipeline.processes.group import launched_processes
from pipeline.recipe.recipe import Recipe
from pipeline.run.folder import machine
from pipeline.supernet.complexity import complexity
from pipeline.training.build import build

# Images of the larger of the two trial steps. On a CPU as few as fit into a wait that people put up with: its time is
# in proportion to them. A GPU is busy only from many on.
_IMAGES_ON_GPU = 128
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
    """What was measured: the machine, what its steps compute, and the step time of each phase by its name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    machine: str
    device: str
    computes: dict[str, Any]
    images: tuple[int, int]
    phases: dict[str, StepTime]

    @staticmethod
    def measure(recipe: Recipe, schedule: Schedule) -> StepTimes:
        """Trial steps of two sizes on this process, through the plain engine: what a process computes by itself."""
        with launched_processes() as processes:
            most = max(_LEAST_IMAGES, int(_CPU_MACS / complexity(schedule.space, schedule.space.largest()).macs))
            count = min(_IMAGES_ON_GPU if processes.device.type == "cuda" else most, recipe.batch_size)
            sizes = (in_pairs(count // 2), in_pairs(count))
            alone = {"engine": SingleConfig(), "batch_size": count}
            engine = build(recipe.model_copy(update=alone), schedule, processes)
            small, large = (seconds_per_step(recipe, engine, schedule, processes, size) for size in sizes)
            return StepTimes(
                machine=machine(processes.device),
                device=processes.device.type,
                computes=computed(recipe, schedule),
                images=sizes,
                phases={name: _line(sizes, (small[name], large[name])) for name in small},
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


def _line(sizes: tuple[int, int], seconds: tuple[float, float]) -> StepTime:
    """Through both points; never with a negative part, as noise could make it."""
    (few, many), (short, long) = sizes, seconds
    if many == few:
        return StepTime(fixed=0.0, per_image=long / many)
    per_image = min(max((long - short) / (many - few), 0.0), long / many)
    return StepTime(fixed=long - many * per_image, per_image=per_image)
