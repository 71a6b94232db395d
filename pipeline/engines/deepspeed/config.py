"""DeepSpeed's own configuration: what a sandwich step needs, and what a recipe may add under DeepSpeed's names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from pipeline.engines.config import BaseEngineConfig
from pipeline.engines.optimizer import OptimizerConfig
from pipeline.engines.protocol import Engine
from pipeline.supernet.supernet import Supernet

# What changes speed, memory or reports, and not the weights; `tests/distributed` trains with those of ZeRO. Keys of a
# section, or the kind of value: what is in other sections DeepSpeed checks itself.
LEGAL = {
    "zero_optimization": {
        "allgather_bucket_size",
        "allgather_partitions",
        "contiguous_gradients",
        "log_trace_cache_warnings",
        "overlap_comm",
        "reduce_bucket_size",
        "reduce_scatter",
        "stage3_max_live_parameters",
        "stage3_max_reuse_distance",
        "stage3_model_persistence_threshold",
        "stage3_param_persistence_threshold",
        "stage3_prefetch_bucket_size",
        "sub_group_size",
    },
    "comms_logger": dict,
    "csv_monitor": dict,
    "dump_state": bool,
    "flops_profiler": dict,
    "memory_breakdown": bool,
    "steps_per_print": int,
    "tensorboard": dict,
    "wall_clock_breakdown": bool,
    "wandb": dict,
}
_KINDS = {dict: "a mapping", bool: "true or false", int: "a whole number above 0"}

# What others use, and why it cannot be had here; a key stands for all below it.
REFUSED = {
    "train_batch_size": "it follows from batch_size",
    "train_micro_batch_size_per_gpu": "it follows from batch_size and the number of processes",
    "gradient_accumulation_steps": "a step's sub-steps are its subnets, whose losses are summed, not averaged",
    "gradient_clipping": "set optimizer.gradient_clip",
    "optimizer": "set the recipe's optimizer",
    "scheduler": "set schedule.learning_rate",
    "zero_allow_untested_optimizer": "it is set, as the optimizer is ours",
    "bf16": "it casts the weights, batch norm's too; set model.precision to bf16, which computes under autocast",
    "fp16": "it casts the weights, batch norm's too; set model.precision to bf16",
    "amp": "set model.precision to bf16",
    "torch_autocast": "set model.precision to bf16",
    "data_types": "gradients add up in float32, as on every engine",
    "communication_data_type": "gradients are reduced in float32, as on every engine",
    "activation_checkpointing": "set model.activation_checkpointing",
    "zero_optimization.stage": "set engine.zero_stage",
    "zero_optimization.round_robin_gradients": "checkpoints would get weights and momentum in another order",
    "zero_optimization.offload_optimizer": "sub-steps and unused parameters are corrected on the device only",
    "zero_optimization.offload_param": "sub-steps and unused parameters are corrected on the device only",
    "zero_optimization.cpu_offload": "sub-steps and unused parameters are corrected on the device only",
    "zero_optimization.leaf_module": "it is set: each block of the supernet is one",
    "zero_optimization.zero_quantized_weights": "weights would differ from those of every other engine",
    "zero_optimization.zero_quantized_gradients": "gradients would differ from those of every other engine",
}


class DeepSpeedConfig(BaseEngineConfig, frozen=True):
    """The recipe's `engine` for DeepSpeed."""

    name: Literal["deepspeed"] = "deepspeed"
    zero_stage: Literal[0, 1, 2, 3] = Field(default=0, description="DeepSpeed's ZeRO stage")
    deepspeed: dict[str, Any] = Field(
        default={}, description="more of DeepSpeed's own configuration, by its names; merged with what the engine needs"
    )

    @model_validator(mode="after")
    def _check(self) -> DeepSpeedConfig:
        check_additions(self.deepspeed, self.zero_stage)
        return self

    @property
    def title(self) -> str:
        return f"{self.name} (ZeRO {self.zero_stage})"

    @property
    def shards_weights(self) -> bool:
        return self.zero_stage == 3

    def all_reduces(self, subnets: int) -> float:
        # Stage 1 reduces after the last sub-step, stage 2 after each, and both gather what was updated. Stage 3 gathers
        # and scatters in each.
        return {0: 1.0, 1: 1.5, 2: subnets + 0.5, 3: 1.5 * subnets}[self.zero_stage]

    def build(self, supernet: Supernet, optimizer: OptimizerConfig, batch_per_process: int) -> Engine:
        from pipeline.engines.deepspeed.engine import DeepSpeedEngine

        content = deepspeed_config(self.zero_stage, optimizer.gradient_clip, batch_per_process, self.deepspeed)
        return DeepSpeedEngine(supernet, optimizer, self.zero_stage, content)


def check_additions(additions: Mapping[str, Any], stage: int) -> None:
    """Refuse what a recipe's `engine.deepspeed` cannot have.

    Raises:
        ValueError: one line with the key, the reason and what is legal.
    """
    for key, value in _leaves(additions):
        refused = next((name for name in REFUSED if key == name or key.startswith(f"{name}.")), None)
        if refused:
            raise ValueError(f"deepspeed.{key}: refused: {REFUSED[refused]}")
        section, _, name = key.partition(".")
        _check_name(section, LEGAL, "deepspeed")
        legal = LEGAL[section]
        if isinstance(legal, type):
            if not _is_a(legal, additions[section]):
                raise ValueError(f"deepspeed.{section}: must be {_KINDS[legal]}, not {additions[section]!r}")
        elif value != {}:
            if not name:
                raise ValueError(f"deepspeed.{section}: must be a mapping with keys out of {', '.join(sorted(legal))}")
            _check_name(name, legal, f"deepspeed.{section}")
        if key == "zero_optimization.overlap_comm" and value and stage == 1:
            raise ValueError(
                f"deepspeed.{key}: refused: at ZeRO stage 1 it loses the gradients of all sub-steps but the last; "
                "leave it out, or set engine.zero_stage to 2 or 3"
            )


def deepspeed_config(
    stage: int, clip: float | None, batch_per_process: int, additions: Mapping[str, Any]
) -> dict[str, Any]:
    """DeepSpeed's configuration for a sandwich step, with the `additions` of a recipe."""
    ours = {
        "train_micro_batch_size_per_gpu": batch_per_process,
        # The sub-steps of a sandwich are marked by hand (`set_gradient_accumulation_boundary`), and their losses are
        # summed, not averaged.
        "gradient_accumulation_steps": 1,
        "gradient_clipping": clip or 0.0,
        # Stage 1 with overlapping communication loses the gradients of all but the last sub-step, silently.
        "zero_optimization": {"stage": stage, "overlap_comm": False},
        "zero_allow_untested_optimizer": True,
        "steps_per_print": 1_000_000_000,
        "wall_clock_breakdown": False,
    }
    return _merged(ours, additions)


def _check_name(name: str, legal: Any, place: str) -> None:
    if name not in legal:
        raise ValueError(
            f"{place}.{name}: unknown, or not tried with sub-steps; legal keys: {', '.join(sorted(legal))}"
        )


def _is_a(kind: type, value: Any) -> bool:
    return type(value) is kind and (kind is not int or value > 0)


def _merged(ours: Mapping[str, Any], additions: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(ours)
    for key, value in additions.items():
        both = isinstance(value, Mapping) and isinstance(ours.get(key), Mapping)
        merged[key] = _merged(ours[key], value) if both else value
    return merged


def _leaves(mapping: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in mapping.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
