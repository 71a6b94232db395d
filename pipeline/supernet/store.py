"""A trained supernet on disk: `supernet.safetensors` and, beside it, the space, so that it loads without a recipe.

`supernet.json` also holds the weights' length and SHA-256, their origin where they were not trained here, and a
checksum of its own. It is written first: weights are there once both are, and where a kill came between the two,
`--resume` writes both again.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import TypeAdapter
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from data_shards.store.regular_file import read_regular
from pipeline.errors import RunFailure, UsageError
from pipeline.files.json_file import checked, read_json, write_json
from pipeline.files.whole_file import DamagedError, Digest, read_whole, write_whole
from pipeline.run.layout import SPACE, WEIGHTS
from pipeline.supernet.belonging import difference, without_memory
from pipeline.supernet.hub import on_disk
from pipeline.supernet.origin import Origin
from pipeline.supernet.space import Space
from pipeline.supernet.space_json import space_from_dict
from pipeline.supernet.supernet import Supernet

_DIGEST = "weights"  # member of `supernet.json`; those of before have none
_ORIGIN = "origin"  # another; of weights that were imported, or trained from such


def save_supernet(
    folder: Path, space: Space, weights: Mapping[str, Tensor], origin: Origin | None = None
) -> list[Path]:
    """Write both files into `folder` and return their paths.

    Raises:
        OSError: where they cannot be written; each file is then the old one or the new one, whole.
    """
    content = save({name: tensor.contiguous() for name, tensor in weights.items()})
    description = {**asdict(space), _DIGEST: Digest.of(content)._asdict()}
    if origin is not None:
        description[_ORIGIN] = origin.model_dump(mode="json")
    write_json(folder / SPACE, description)
    write_whole(folder / WEIGHTS, content)
    return [folder / WEIGHTS, folder / SPACE]


def load_supernet(folder: Path | str) -> Supernet:
    """The supernet that `save_supernet` wrote, in evaluation mode.

    Args:
        folder: of a run, of `deps import`, of `deps card`; or the name of such a one on the hub, `hf-hub:OWNER/NAME`.

    Raises:
        UsageError: where `folder` has none. RunFailure: where it is damaged, or the hub cannot be reached.
    """
    space, weights = load_weights(folder)
    supernet = Supernet(space)
    supernet.load_state_dict(weights)
    return supernet.eval()


def load_weights(folder: Path | str) -> tuple[Space, dict[str, Tensor]]:
    """The space and the weights that `save_supernet` wrote; see `load_supernet`."""
    folder = on_disk(folder)
    if not (folder / WEIGHTS).exists():
        raise UsageError(f"{folder / WEIGHTS}: is not there; a run writes it at its end (deps train … --resume)")
    description = _description(folder)
    try:
        space = space_from_dict(description.space)
    except DamagedError as error:
        raise _damaged(folder / SPACE, error) from None
    try:
        weights = load(_content(folder / WEIGHTS, description.digest))
        if reason := difference(without_memory(space).state_dict(), weights):
            raise DamagedError(f"it is not of the network in {SPACE}: {reason}")
    except (OSError, DamagedError, SafetensorError) as error:
        raise _damaged(folder / WEIGHTS, error) from None
    return space, weights


def origin_of(folder: Path) -> Origin | None:
    """Where the weights in `folder` come from; None where they were trained here from the start.

    Raises:
        RunFailure: where `supernet.json` is damaged.
    """
    return _description(on_disk(folder)).origin


def digest_of(folder: Path) -> str:
    """SHA-256 of the weights in `folder`.

    Raises:
        OSError: where they cannot be read. RunFailure: where `supernet.json` is damaged.
    """
    folder = on_disk(folder)
    return (_description(folder).digest or Digest.of(read_regular(folder / WEIGHTS))).sha256


def check_supernet(folder: Path) -> None:
    """Make sure that weights which are in `folder` are those that were written, to the last bit.

    Raises:
        RunFailure: where one of the two files is damaged.
    """
    if (folder / WEIGHTS).exists():
        digest = _description(folder).digest
        try:
            _content(folder / WEIGHTS, digest)
        except (OSError, DamagedError) as error:
            raise _damaged(folder / WEIGHTS, error) from None


def is_saved(folder: Path) -> bool:
    """Whether a supernet is in `folder`, at the cost of a look at its length.

    Raises:
        RunFailure: where it cannot be one: its weights are no file, or of another length than was written.
    """
    path = folder / WEIGHTS
    if not path.exists():
        return False
    digest = _description(folder).digest
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise _damaged(path, DamagedError("is not a regular file"))
    if digest is not None and found.st_size != digest.bytes:
        raise _damaged(path, DamagedError(f"{found.st_size} bytes of {digest.bytes}"))
    return True


class _Description(NamedTuple):
    """What `supernet.json` holds: the space as it was written, and the digest of the weights, where it has one."""

    space: dict[str, Any]
    digest: Digest | None
    origin: Origin | None


def _description(folder: Path) -> _Description:
    path = folder / SPACE
    try:
        content = read_json(path)
        if not isinstance(content, dict):
            raise DamagedError("not a space")
        digest, origin = content.pop(_DIGEST, None), content.pop(_ORIGIN, None)
        return _Description(
            content,
            None if digest is None else checked(digest, TypeAdapter(Digest)),
            None if origin is None else checked(origin, TypeAdapter(Origin)),
        )
    except (OSError, DamagedError) as error:
        raise _damaged(path, error) from None


def _content(path: Path, digest: Digest | None) -> bytes:
    return read_regular(path) if digest is None else read_whole(path, digest)


def _damaged(path: Path, error: Exception) -> RunFailure:
    reason = (error.strerror if isinstance(error, OSError) else None) or " ".join(str(error).split())[:200]
    return RunFailure(
        f"{path}: cannot be loaded: {reason}; what wrote it writes it again: deps train … --resume, or deps weights"
    )
