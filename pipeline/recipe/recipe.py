"""The recipe: every component's configuration composed. `reading.py` reads it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from data_shards.loading.loader import DataConfig
from data_shards.may_change import MayChange
from kernels.dispatch import KernelChoice
from pipeline.checkpoints.checkpoint import CheckpointConfig
from pipeline.duration import Duration
from pipeline.engines import EngineConfig
from pipeline.engines.deepspeed.config import DeepSpeedConfig
from pipeline.engines.optimizer import OptimizerConfig, SgdConfig
from pipeline.errors import UsageError
from pipeline.evaluation.config import EvaluationConfig
from pipeline.methods import MethodConfig
from pipeline.methods.losses import LossConfig
from pipeline.supernet.hub import is_on_hub
from pipeline.supernet.networks import SpaceConfig
from pipeline.tracking.mlflow import TrackingConfig
from pipeline.tracking.mlflow_run import local_database, place_of


class ModelConfig(BaseModel):
    """The recipe's `model`: what is about the supernet but not about its space."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dropout: float = Field(default=0.0, ge=0, lt=1, description="before the classifier, of the full model only")
    drop_connect: float = Field(
        default=0.0, ge=0, lt=1, description="of the last two stages, of the full model only; rises with depth up to it"
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        default="auto", description="bf16: autocast, weights stay fp32; auto: bf16 on GPUs, fp32 on CPUs"
    )
    activation_checkpointing: MayChange[bool] = Field(
        default=False, description="compute each block again for backward, which takes time and saves memory"
    )
    start: Path | None = Field(
        default=None,
        description="folder of a supernet that training begins with: imported, or a run's; or hf-hub:OWNER/NAME",
    )
    start_classifier: Literal["same", "new"] = Field(
        default="same", description="new: with a classifier of the data set's own, whatever the supernet's classes"
    )
    end: Literal["last", "best"] = Field(
        default="last",
        description="weights that the run leaves: of its end, or of the checkpoint that was best on validation images",
    )
    cuda_graphs: bool = Field(default=False, description="replay the full model and the smallest subnet from graphs")

    @model_validator(mode="after")
    def _check(self) -> ModelConfig:
        if self.cuda_graphs and self.activation_checkpointing:
            raise ValueError("activation_checkpointing: cannot be had with cuda_graphs, which keep all activations")
        if self.start_classifier == "new" and self.start is None:
            raise ValueError("start_classifier: is for runs with a start, which gives none")
        return self


class CostConfig(BaseModel):
    """The recipe's `cost`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    price_per_gpu_hour: float | None = Field(default=None, ge=0, description="dollars; none for CPU process hours")


class Recipe(BaseModel):
    """One experiment, whole."""

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="of the run; its folder is RUNS/NAME")
    approach: str = Field(default="DεpS", min_length=1, description="under which reports group runs over seeds")
    seed: int = Field(default=0, ge=0, lt=2**32)
    runs: MayChange[Path] = Path("runs")
    batch_size: int = Field(gt=0, description="of one optimizer step, over all processes")
    train_samples: int | None = Field(
        default=None, gt=0, description="packed ones that are expected; a dry run needs no data with it"
    )
    log_every: MayChange[Duration] = "10 steps"
    space: SpaceConfig
    model: ModelConfig = ModelConfig()
    kernels: KernelChoice = Field(default="auto", description="whose operations compute the elastic layers")
    data: DataConfig
    schedule: MethodConfig
    loss: LossConfig = LossConfig()
    optimizer: OptimizerConfig = SgdConfig()
    engine: MayChange[EngineConfig] = DeepSpeedConfig()
    evaluation: MayChange[EvaluationConfig] = EvaluationConfig()
    checkpoint: MayChange[CheckpointConfig] = CheckpointConfig()
    cost: MayChange[CostConfig] = CostConfig()
    tracking: MayChange[TrackingConfig] = TrackingConfig()

    @model_validator(mode="after")
    def _check(self) -> Recipe:
        if self.model.cuda_graphs and self.engine.shards_weights:
            raise ValueError(
                "model.cuda_graphs: a graph needs weights that stay in one place; take an engine without shards"
            )
        if self.model.end == "best" and not (self.data.validation_samples and self.checkpoint.keep_best):
            raise ValueError("model.end: best needs data.validation_samples to choose on, and checkpoint.keep_best")
        return self

    @property
    def folder(self) -> Path:
        return self.runs / self.name

    def steps_per_epoch(self, packed: int) -> int:
        """Whole batches of the training images.

        Args:
            packed: training images of the data set, of which validation images are kept out.

        Raises:
            UsageError: where there is not even one batch.
        """
        left = packed - self.data.validation_samples
        if self.batch_size > left:
            less = f" ({packed} less data.validation_samples)" if self.data.validation_samples else ""
            raise UsageError(f"batch_size: {self.batch_size} is more than the {left} training samples{less}")
        return left // self.batch_size


def resolved(recipe: Recipe) -> dict[str, Any]:
    """The recipe with every default filled in, as plain YAML and JSON values."""
    return json.loads(recipe.model_dump_json())


def anchored(recipe: Recipe) -> Recipe:
    """The recipe with its paths made absolute, so that it means the same wherever it is started."""
    tracking, data, model = recipe.tracking, recipe.data, recipe.model
    return recipe.model_copy(
        update={
            "runs": recipe.runs.absolute(),
            "data": data.model_copy(update={"shards": data.shards.absolute()}),
            "schedule": recipe.schedule.anchored(),
            "model": model.model_copy(update={"start": _anchored(model.start)}),
            "tracking": tracking.model_copy(update={"uri": place_of(tracking.uri).uri}),
        }
    )


def _anchored(start: Path | None) -> Path | None:
    return start if start is None or is_on_hub(start) else start.absolute()


def written_folders(recipe: Recipe) -> set[Path]:
    """The folders that a start of the recipe writes into: of its runs, and of MLflow's database if that is a file."""
    database = local_database(place_of(recipe.tracking.uri).uri) if recipe.tracking.mlflow else None
    return {recipe.runs} if database is None else {recipe.runs, database.parent}
