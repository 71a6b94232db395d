"""Reads the state dict out of somebody's checkpoint file, without running or building anything that it asks for.

Of a pickle, torch's own restricted unpickler (`weights_only=True`) makes tensors and plain containers. Objects that
hold settings (AttentiveNAS's `utils.config.Config`) become plain dictionaries, which are not looked at.
"""

from __future__ import annotations

import collections
import errno
import hashlib
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from data_shards.one_line import one_line, shown
from data_shards.store.regular_file import open_regular
from pipeline.errors import UsageError

_MOST_BYTES = 4 << 30  # of a file: the largest published one, with its optimizer's state, has a tenth of it
_MOST_PICKLE = 64 << 20  # bytes of a zipped file's pickle, which holds no weights
_MOST_CLASSES = 32
_ZIP = b"PK\x03\x04"
_BLOCK = 1 << 20

# What torch's message says of the first class that it does not build.
_REFUSED = re.compile(r"GLOBAL ([\w.]+) (?:was not an allowed global|whose module \w+ is blocked)")
# Classes that hold settings, of whatever program.
_SETTINGS = re.compile(r"(?:\w+\.)+\w*(?:Config|Dict|Namespace|CfgNode)")
# What numpy writes for a single number, such as the best accuracy.
_FIGURES = frozenset({"numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar", "numpy.dtype"})


class CheckpointFile(NamedTuple):
    """What a file holds.

    Attributes:
        state: tensors by name, on the CPU.
        member: of the file, that is the state; None where the state is all there is.
        others: names of what else is in it.
        sha256: of the file.
    """

    state: dict[str, Tensor]
    member: str | None
    others: tuple[str, ...]
    sha256: str


class _NoFigure:
    """In place of a number of numpy's: takes what that is made of, and makes nothing of it."""

    def __init__(self, *_: object) -> None: ...

    def __setstate__(self, _: object) -> None: ...


def read_checkpoint(path: Path, ema: bool = False) -> CheckpointFile:
    """The state dict in a file that `torch.save` wrote, zipped or in the older format.

    Args:
        ema: take the moving average of the weights (`state_dict_ema`) instead of the weights.

    Raises:
        UsageError: one line that names the file, and what it is instead.
    """
    try:
        sha256, start = _looked_over(path)
        content = _loaded(path, zipped=start == _ZIP)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from None
    except _NotRead as refusal:
        raise UsageError(f"{path}: {refusal}") from None
    member, state = _state(path, content, ema)
    others = tuple(one_line(key, 60) for key in content if key != member) if member else ()
    return CheckpointFile(_tensors(path, state), member, others, sha256)


class _NotRead(ValueError):  # noqa: N818 (a refusal, whose message is the reason)
    """A file that holds no state dict. The message is the reason, without the path."""


def _looked_over(path: Path) -> tuple[str, bytes]:
    """SHA-256 and the first bytes of a regular file of no unreasonable size."""
    digest, start, size = hashlib.sha256(), b"", 0
    with open(open_regular(path), "rb") as file:
        while block := file.read(_BLOCK):
            start = start or block[: len(_ZIP)]
            digest.update(block)
            size += len(block)
            if size > _MOST_BYTES:
                raise _NotRead(f"has more than {_MOST_BYTES >> 30} GiB, which no checkpoint of these networks has")
    return digest.hexdigest(), start


def _loaded(path: Path, zipped: bool) -> Any:
    if zipped:
        _check_archive(path)
    stand_ins: list[Any] = []
    while True:
        try:
            with torch.serialization.safe_globals(stand_ins), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about the pickle's protocol
                return torch.load(path, map_location="cpu", weights_only=True)
        except OSError:
            raise
        except Exception as error:  # of whatever kind the bytes bring torch to
            stand_ins.append(_stand_in(error, stand_ins))


def _check_archive(path: Path) -> None:
    """Make sure that an archive is whole, and holds no more than its own bytes: nothing compressed, or there twice."""
    try:
        with zipfile.ZipFile(path) as archive:
            records = archive.infolist()
            pickles = [record for record in records if record.filename.endswith("/data.pkl")]
            if len(pickles) != 1:
                raise _NotRead("is an archive without a checkpoint of torch's in it")
            if any(record.compress_type != zipfile.ZIP_STORED for record in records):
                raise _NotRead("is a compressed archive, which torch never writes")
            size = path.stat().st_size
            if sum(record.file_size for record in records) > size or pickles[0].file_size > _MOST_PICKLE:
                raise _NotRead("is an archive that claims to hold more than its size")
            if (damaged := archive.testzip()) is not None:
                raise _NotRead(f"is a damaged archive ({shown(damaged)} is not what its checksum tells)")
    except _NotRead:
        raise
    except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError, RuntimeError, OSError) as error:
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # else it looks for a place before the start
            raise
        raise _NotRead(f"is a damaged or cut archive ({_reason(error)})") from None


def _stand_in(error: Exception, known: list[Any]) -> tuple[Any, str]:
    """What to build in place of the class that torch refused.

    Raises:
        _NotRead: where it refused something else.
    """
    refused = _REFUSED.search(str(error))
    if refused is None:
        if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
            raise _NotRead("claims to hold more than there is memory for") from None
        raise _NotRead(f"is no checkpoint that torch wrote, or a damaged one ({_reason(error)})") from None
    name = refused[1]
    if name in _FIGURES:
        return _NoFigure, name
    if not _SETTINGS.fullmatch(name) or len(known) >= _MOST_CLASSES:
        raise _NotRead(f"holds {shown(name)}, which is not loaded: tensors are, in a state dict") from None
    return collections.OrderedDict, name


def _reason(error: Exception) -> str:
    """The end of what torch says, which is about the file; before it, it tells how to load it anyway."""
    text = str(error).split("\nPlease file an issue")[-1].rpartition("WeightsUnpickler error: ")[2]
    text = text.split("\n\nCheck the documentation")[0].rpartition("`weights_only=True` unpickler: ")[2]
    return one_line(text, 90) or type(error).__name__


def _state(path: Path, content: Any, ema: bool) -> tuple[str | None, Any]:
    if not isinstance(content, Mapping):
        raise UsageError(f"{path}: holds a {type(content).__name__}, not a state dict")
    if ema:
        if not isinstance(content.get("state_dict_ema"), Mapping):
            raise UsageError(f"{path}: has no state_dict_ema; leave out --ema")
        return "state_dict_ema", content["state_dict_ema"]
    if "state_dict" in content:
        return "state_dict", content["state_dict"]
    return None, content


def _tensors(path: Path, state: Any) -> dict[str, Tensor]:
    """`state`, if it is what a state dict is."""
    if not isinstance(state, Mapping) or not state:
        raise UsageError(f"{path}: its state_dict is {'empty' if isinstance(state, Mapping) else 'none'}")
    for name, tensor in state.items():
        if not isinstance(name, str):
            raise UsageError(f"{path}: holds no state dict: the key {shown(name)} is no name of a tensor")
        if not isinstance(tensor, Tensor):
            raise UsageError(f"{path}: holds no state dict: {shown(name)} is no tensor but {shown(tensor)}")
        if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_quantized or tensor.is_nested:
            raise UsageError(f"{path}: {shown(name)} is no plain tensor with values")
    return {name: tensor.detach() for name, tensor in state.items()}
