"""The recipe: every component's configuration composed, read from YAML, overridden from the command line.

Unknown keys, wrong types and values out of range are refused before anything is built, with the key at fault and the
legal ones.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from data_shards.loading.loader import DataConfig
from data_shards.one_line import shown
from data_shards.strict_yaml import NotYaml, parse_yaml
from kernels.dispatch import KernelChoice
from pipeline.checkpoints.checkpoint import CheckpointConfig
from pipeline.duration import Duration
from pipeline.engines.optimizer import OptimizerConfig
from pipeline.engines.protocol import DEEPSPEED_KEYS, EngineConfig
from pipeline.errors import UsageError
from pipeline.evaluation.config import EvaluationConfig
from pipeline.methods.deps import DepsConfig
from pipeline.methods.losses import LossConfig
from pipeline.recipe.yaml_file import read_yaml
from pipeline.supernet.networks import SpaceConfig
from pipeline.tracking.mlflow import TrackingConfig
from pipeline.tracking.mlflow_run import local_database, place_of

_DEEPEST = 20  # parents of an override's key


class ModelConfig(BaseModel):
    """The recipe's `model`: what is about the supernet but not about its space."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dropout: float = Field(default=0.0, ge=0, lt=1, description="before the classifier, of the full model only")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        default="auto", description="bf16: autocast, weights stay fp32; auto: bf16 on GPUs, fp32 on CPUs"
    )
    activation_checkpointing: bool = Field(
        default=False, description="compute each block again for backward, which takes time and saves memory"
    )
    cuda_graphs: bool = Field(default=False, description="replay the full model and the smallest subnet from graphs")

    @model_validator(mode="after")
    def _check(self) -> ModelConfig:
        if self.cuda_graphs and self.activation_checkpointing:
            raise ValueError("activation_checkpointing: cannot be had with cuda_graphs, which keep all activations")
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
    runs: Path = Path("runs")
    batch_size: int = Field(gt=0, description="of one optimizer step, over all processes")
    train_samples: int | None = Field(default=None, gt=0, description="expected; a dry run needs no data with it")
    log_every: Duration = "10 steps"
    space: SpaceConfig
    model: ModelConfig = ModelConfig()
    kernels: KernelChoice = Field(default="auto", description="whose operations compute the elastic layers")
    data: DataConfig
    schedule: DepsConfig
    loss: LossConfig = LossConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    engine: EngineConfig = EngineConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    cost: CostConfig = CostConfig()
    tracking: TrackingConfig = TrackingConfig()

    @model_validator(mode="after")
    def _check(self) -> Recipe:
        if self.model.cuda_graphs and self.engine.shards_weights:
            raise ValueError(
                "model.cuda_graphs: a graph needs weights that stay in one place; take an engine without shards"
            )
        return self

    @property
    def folder(self) -> Path:
        return self.runs / self.name


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe in the YAML file `path`, with `key=value` overrides (`schedule.epsilon_ramp=0`) applied.

    Raises:
        UsageError: one line that names file, key, value and what is legal.
    """
    try:
        content = read_yaml(path)
    except UsageError as error:
        raise UsageError(f"recipe {error}") from None
    if not isinstance(content, dict):
        raise UsageError(f"recipe {path}: must be a mapping of keys, see recipes/digits.yaml")
    _leave_out_another_engines_keys(content, overrides)
    for override in overrides:
        _apply(content, override)
    return parse_recipe(content, f"recipe {path}")


def parse_recipe(content: dict[str, Any], source: str) -> Recipe:
    """Validate a recipe's content; `source` leads the message of the error.

    Raises:
        UsageError: for the first thing that is wrong, telling how many there are.
    """
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        problems = error.errors()
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise UsageError(f"{source}: {_describe(problems[0])}{more}") from None


def resolved(recipe: Recipe) -> dict[str, Any]:
    """The recipe with every default filled in, as plain YAML and JSON values."""
    return json.loads(recipe.model_dump_json())


def anchored(recipe: Recipe) -> Recipe:
    """The recipe with its paths made absolute, so that it means the same wherever it is started."""
    tracking, data = recipe.tracking, recipe.data
    return recipe.model_copy(
        update={
            "runs": recipe.runs.absolute(),
            "data": data.model_copy(update={"shards": data.shards.absolute()}),
            "tracking": tracking.model_copy(update={"uri": place_of(tracking.uri).uri}),
        }
    )


def written_folders(recipe: Recipe) -> set[Path]:
    """The folders that a start of the recipe writes into: of its runs, and of MLflow's database if that is a file."""
    database = local_database(place_of(recipe.tracking.uri).uri) if recipe.tracking.mlflow else None
    return {recipe.runs} if database is None else {recipe.runs, database.parent}


def _leave_out_another_engines_keys(content: dict[str, Any], overrides: Sequence[str]) -> None:
    """`engine.name=ddp` takes a recipe written for DeepSpeed as it is: its ZeRO stage goes with its engine."""
    chosen = [
        text.strip() for key, _, text in (each.partition("=") for each in overrides) if key.strip() == "engine.name"
    ]
    engine = content.get("engine")
    if chosen and chosen[-1] != "deepspeed" and isinstance(engine, dict):
        content["engine"] = {key: value for key, value in engine.items() if key not in DEEPSPEED_KEYS}


def _apply(content: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise UsageError(
            f"override {shown(override)}: must be key=value, for example seed=1 or schedule.epsilon_ramp=0"
        )
    *parents, leaf = key.strip().split(".")
    if len(parents) > _DEEPEST or not key.isprintable():
        raise UsageError(f"override {shown(key)}: is no key of a recipe")
    place = content
    for parent in parents:
        place = place.setdefault(parent, {})
        if not isinstance(place, dict):
            raise UsageError(f"override {shown(override)}: '{parent}' is a value, it has no keys below it")
    try:
        place[leaf] = parse_yaml(text)
    except NotYaml as error:
        raise UsageError(f"override {key.strip()}: {error}") from None


def _describe(problem: Any) -> str:
    location = [part for part in problem["loc"] if isinstance(part, str)]
    key = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        legal = sorted(_model_at(location[:-1]).model_fields)
        near = difflib.get_close_matches(location[-1], legal, n=1)
        hint = f" did you mean '{near[0]}'?" if near else ""
        return f"{key}: unknown key;{hint} legal keys: {', '.join(legal)}"
    if problem["type"] == "missing":
        return f"{key}: is missing"
    if problem["type"] in ("model_type", "model_attributes_type"):
        legal = ", ".join(sorted(_model_at(location).model_fields))
        return f"{key}: must be a mapping with keys out of {legal}, not {shown(problem['input'])}"
    message = problem["msg"].removeprefix("Value error, ")
    given = "" if isinstance(problem["input"], dict) else f", not {shown(problem['input'])}"
    return f"{key}: {message[:1].lower()}{message[1:]}{given}" if key else message


def _model_at(location: list[str]) -> type[BaseModel]:
    model: type[BaseModel] = Recipe
    for part in location:
        annotation: Any = model.model_fields[part].annotation
        choices = (annotation, *get_args(annotation))
        model = next(each for each in choices if isinstance(each, type) and issubclass(each, BaseModel))
    return model
