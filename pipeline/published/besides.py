"""What a published state dict has besides the network's tensors, kept so that the way back gives the same state dict.

Its own names in their order, and the counters and statistics that no network of ours has a place for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pydantic import TypeAdapter
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save
from torch import Tensor

from pipeline.errors import RunFailure
from pipeline.files.json_file import checked, parse_json
from pipeline.files.whole_file import DamagedError, Digest, read_whole, write_whole
from pipeline.run.layout import BESIDES

_NAMES = "names"


class Besides(NamedTuple):
    """See the module.

    Attributes:
        names: all that the published state dict has, in its order.
        tensors: those of them that are not the network's.
    """

    names: tuple[str, ...]
    tensors: dict[str, Tensor]


def save_besides(folder: Path, names: Sequence[str], tensors: Mapping[str, Tensor]) -> Digest:
    """Write it into `folder`; the digest is to be kept elsewhere."""
    content = save(
        {name: tensor.contiguous() for name, tensor in tensors.items()}, metadata={_NAMES: json.dumps(list(names))}
    )
    write_whole(folder / BESIDES, content)
    return Digest.of(content)


def load_besides(folder: Path, written: Digest) -> Besides:
    """What `save_besides` wrote.

    Raises:
        RunFailure: where it is damaged or gone.
    """
    path = folder / BESIDES
    try:
        tensors = load(read_whole(path, written))
        with safe_open(path, "pt") as file:
            names = checked(parse_json(file.metadata()[_NAMES]), TypeAdapter(tuple[str, ...]))
        return Besides(names, tensors)
    except (OSError, DamagedError, SafetensorError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise RunFailure(f"{path}: cannot be loaded: {reason}; import the checkpoint again") from None
