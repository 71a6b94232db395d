"""A trained supernet on disk: `supernet.safetensors` and, beside it, the space, so that it loads without a recipe."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from pipeline.errors import RunFailure, UsageError
from pipeline.supernet.mobilenet_v3 import Supernet
from pipeline.supernet.space import Space, Stage
from pipeline.whole_file import write_whole

WEIGHTS, SPACE = "supernet.safetensors", "supernet.json"


def save_supernet(folder: Path, space: Space, weights: dict[str, Tensor]) -> list[Path]:
    """Write both files into `folder` and return their paths.

    Raises:
        OSError: where they cannot be written; what was there before stays.
    """
    write_whole(folder / SPACE, json.dumps(asdict(space), indent=1).encode())
    write_whole(folder / WEIGHTS, save({name: tensor.contiguous() for name, tensor in weights.items()}))
    return [folder / WEIGHTS, folder / SPACE]


def load_supernet(folder: Path) -> Supernet:
    """The supernet that `save_supernet` wrote, in evaluation mode.

    Raises:
        UsageError: where `folder` has none. RunFailure: where it is damaged.
    """
    if not (folder / WEIGHTS).exists():
        raise UsageError(f"{folder / WEIGHTS}: is not there; a run writes it at its end (deps train … --resume)")
    try:
        supernet = Supernet(space_from_dict(json.loads((folder / SPACE).read_text(encoding="utf-8"))))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise _damaged(folder / SPACE, error) from None
    try:
        supernet.load_state_dict(load_file(folder / WEIGHTS))
    except (OSError, RuntimeError, SafetensorError) as error:
        raise _damaged(folder / WEIGHTS, error) from None
    return supernet.eval()


def space_from_dict(content: dict) -> Space:
    """The inverse of `dataclasses.asdict` on a Space, after a round trip through JSON."""
    stages = tuple(Stage(**stage) for stage in content["stages"])
    sequences = {key: tuple(content[key]) for key in ("last", "depths", "kernels", "expands", "resolutions")}
    return Space(**{**content, **sequences, "stages": stages})


def _damaged(path: Path, error: Exception) -> RunFailure:
    reason = " ".join(str(error).split())[:200]
    return RunFailure(f"{path}: cannot be loaded: {reason}; delete it, and deps train … --resume writes it again")
