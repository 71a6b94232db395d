"""The manifest of a packed data set: what it is, and the length and checksum of every file it consists of.

Layout of a packed data set::

    ROOT/manifest.json
    ROOT/SPLIT/index.npy               one row per sample (see `data_shards.store.index`)
    ROOT/SPLIT/SPLIT-000000.tar …      WebDataset shards: KEY.jpg (or .png) and KEY.cls per sample

A manifest may come from anywhere, and its checksum is no secret. What it says is therefore checked when it is read.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from data_shards.errors import ShardDamage, ShardUsageError
from data_shards.one_line import readable
from data_shards.store.durable_file import write_durably
from data_shards.store.regular_file import read_regular

FORMAT = 2  # 1 had no checksum of the manifest itself
MANIFEST_NAME = "manifest.json"
INDEX_NAME = "index.npy"

_UNSIGNED = "0" * 64  # stands where the checksum will, while it is computed

_MOST_BYTES = 2**62  # of a shard: more than any disk holds, and sums of two are whole numbers of 64 bits
_LEAST_BYTES = 4 * 512  # that a sample takes in a tar: image and label, each with its header

# Names of splits and shards become names of files, and parts of URLs and of commands (`data.stream_from`): none of
# these characters means anything else to any of them, in quotation marks or without.
_BARE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}")


def _bare(name: str) -> str:
    if not _BARE_NAME.fullmatch(name):
        raise ValueError(
            f"{name[:40]!r} is not the bare name of a file: up to 255 of A-Z, a-z, 0-9, '.', '_' and '-', neither of "
            "'.' and '-' first"
        )
    return name


def _printable(text: object) -> object:
    return readable(text) if isinstance(text, str) else text


def _different(what: str, names: Iterable[str]) -> None:
    known: set[str] = set()
    for name in names:
        if name in known:
            raise ValueError(f"two {what} are called {name[:40]!r}")
        known.add(name)


_Name = Annotated[str, AfterValidator(_bare)]
_Text = Annotated[str, BeforeValidator(_printable)]  # for people: what would command their terminals is escaped


class _Version(BaseModel):
    """What manifests of all formats have in common."""

    format: int
    checksum: str | None = None


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ShardEntry(_Entry):
    """One tar: file name inside the split's folder, samples in it, length in bytes, SHA-256 in hex."""

    name: _Name
    samples: int = Field(ge=1)
    bytes: int = Field(le=_MOST_BYTES)
    sha256: str

    @model_validator(mode="after")
    def _hold_the_samples(self) -> ShardEntry:
        if self.bytes < self.samples * _LEAST_BYTES:
            raise ValueError(f"{self.samples} samples do not fit into the {self.bytes} bytes of {self.name}")
        return self


class SplitEntry(_Entry):
    """One split: its number of samples, the SHA-256 of its index, its shards in order."""

    samples: int
    index_sha256: str
    shards: tuple[ShardEntry, ...]

    @model_validator(mode="after")
    def _consist_of_the_shards(self) -> SplitEntry:
        _different("files", (INDEX_NAME, *(shard.name for shard in self.shards)))
        held = sum(shard.samples for shard in self.shards)
        if held != self.samples:
            raise ValueError(f"its shards hold {held} samples, not {self.samples}")
        return self


class LeftOut(_Entry):
    """An image that could not be decoded and was left out on request: its split, its name in the source, the reason."""

    split: _Name
    name: _Text
    reason: _Text


class PackingNotes(_Entry):
    """What was not taken over as it was: number of images changed, by what was done, and images left out."""

    changed: dict[str, int]
    left_out: tuple[LeftOut, ...]


class Manifest(_Entry):
    """A packed data set. `options` holds all that decides its content (sizes, seed …). `notes`: None if all is kept.

    `checksum` is the SHA-256, in hex, of the file with zeros in its place; `write` fills it in.
    """

    format: int = Field(ge=FORMAT)  # older ones have no checksum, and come no further than that
    checksum: str = _UNSIGNED
    dataset: _Text
    classes: tuple[_Text, ...]
    options: dict[str, int | str]
    samples_per_shard: int
    splits: dict[_Name, SplitEntry]
    notes: PackingNotes | None = None

    @model_validator(mode="after")
    def _tell_classes_apart(self) -> Manifest:
        _different("classes", self.classes)
        return self

    def write(self, root: Path) -> None:
        """Writes ROOT/manifest.json; by convention the last file of a pack."""
        unsigned = self.model_copy(update={"checksum": _UNSIGNED})
        content = (unsigned.model_dump_json(indent=1, exclude_none=True) + "\n").encode()
        write_durably(root / MANIFEST_NAME, content.replace(_UNSIGNED.encode(), _sha256(content).encode(), 1))


def read_manifest(root: Path) -> Manifest:
    """Reads ROOT/manifest.json.

    Raises ShardUsageError where there is none (or one of another format version), ShardDamage where it is unreadable
    or not as it was written.
    """
    path = Path(root) / MANIFEST_NAME
    try:
        content = read_regular(path)
        version = _Version.model_validate_json(content)
        _refuse_other_formats(path, version)
        if version.checksum != _checksum(content, version.checksum or ""):
            raise ShardDamage(path, "is not the manifest that was packed (SHA-256 differs)")
        return Manifest.model_validate_json(content)
    except (FileNotFoundError, NotADirectoryError):
        raise ShardUsageError(
            f"no shards at {root}: pack them there first, for example with `deps shards pack digits {root}`"
        ) from None
    except OSError as error:
        raise ShardDamage(path, f"cannot be read: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where, reason = ".".join(str(part) for part in first["loc"]), first["msg"].removeprefix("Value error, ")
        raise ShardDamage(path, f"not a valid manifest: {where + ': ' if where else ''}{reason}") from None


def _refuse_other_formats(path: Path, version: _Version) -> None:
    if version.format > FORMAT:
        remedy = "read it with the version that packed it"
    elif version.format < FORMAT and version.checksum is None:
        remedy = f"delete {path.parent} and pack it again"
    else:
        return  # an older number beside a checksum, which older formats lack, is damage: the checksum will tell
    raise ShardUsageError(f"{path}: format {version.format} is not format {FORMAT}, which this version reads; {remedy}")


def _checksum(content: bytes, stated: str) -> str:
    return _sha256(content.replace(stated.encode(), _UNSIGNED.encode(), 1))


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
