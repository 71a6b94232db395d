"""A trained supernet on disk: `supernet.safetensors` and, beside it, the space, so that it loads without a recipe."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from pipeline.errors import RunFailure, UsageError
from pipeline.supernet.mobilenet_v3 import Supernet
from pipeline.supernet.space import Space, Stage

WEIGHTS, SPACE = "supernet.safetensors", "supernet.json"


def save_supernet(folder: Path, space: Space, weights: dict[str, Tensor]) -> list[Path]:
    """Write both files into `folder` and return their paths."""
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, folder / WEIGHTS)
    (folder / SPACE).write_text(json.dumps(asdict(space), indent=1), encoding="utf-8")
    return [folder / WEIGHTS, folder / SPACE]


def load_supernet(folder: Path) -> Supernet:
    """The supernet that `save_supernet` wrote, in evaluation mode.

    Raises:
        UsageError: where `folder` has none. RunFailure: where it is damaged.
    """
    if not (folder / WEIGHTS).exists():
        raise UsageError(f"{folder / WEIGHTS}: is not there; a run writes it at its end (deps train … --resume)")
    try:
        content = json.loads((folder / SPACE).read_text(encoding="utf-8"))
        supernet = Supernet(space_from_dict(content))
        supernet.load_state_dict(load_file(folder / WEIGHTS))
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, SafetensorError) as error:
        raise RunFailure(f"{folder / WEIGHTS}: cannot be loaded: {' '.join(str(error).split())[:200]}") from None
    return supernet.eval()


def space_from_dict(content: dict) -> Space:
    """The inverse of `dataclasses.asdict` on a Space, after a round trip through JSON."""
    stages = tuple(Stage(**stage) for stage in content["stages"])
    sequences = {key: tuple(content[key]) for key in ("last", "depths", "kernels", "expands")}
    return Space(**{**content, **sequences, "stages": stages})
