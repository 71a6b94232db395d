"""The manifest of a packed data set: what was packed, and the length and checksum of each of its files.

Layout of a packed data set::

    ROOT/manifest.json
    ROOT/SPLIT/index.npy               one row per sample (see `data_shards.store.index`)
    ROOT/SPLIT/SPLIT-000000.tar …      WebDataset shards: KEY.jpg (or .png) and KEY.cls per sample

A manifest may come from anywhere, and anybody can compute its checksum. So its content is checked when it is read.
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

_UNSIGNED = "0" * 64  # stands in the place of the checksum while that is computed

_MOST_BYTES = 2**62  # of a shard: more than any disk holds, and the sum of two still has 64 bits
_LEAST_BYTES = 4 * 512  # that a sample takes in a tar: image and label, each with its header

# Names of splits and shards become names of files, and parts of URLs and commands (`data.stream_from`). These
# characters have no special meaning in any of them, in quotation marks or not.
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
_Text = Annotated[str, BeforeValidator(_printable)]  # for people: characters that control their terminals are escaped


class _Version(BaseModel):
    """The part of a manifest that is the same in all formats."""

    format: int
    checksum: str | None = None


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ShardEntry(_Entry):
    """One tar: its name in the split's folder, its number of samples, its length in bytes, its SHA-256 in hex."""

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
    """One split: its number of samples, the SHA-256 of its index in hex, its shards in order."""

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
    """An image that could not be decoded, and was left out as was asked: split, name in the source, reason."""

    split: _Name
    name: _Text
    reason: _Text


class PackingNotes(_Entry):
    """How shards differ from the source.

    Attributes:
        changed: number of images, by what was done to them.
        left_out: images that could not be decoded.
    """

    changed: dict[str, int]
    left_out: tuple[LeftOut, ...]


class Manifest(_Entry):
    """A packed data set.

    Attributes:
        checksum: the SHA-256, in hex, of the file with zeros in the checksum's place; `write` fills it in.
        options: all that decides the content (sizes, seed …).
        notes: None where images are as in the source.
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
        """Write ROOT/manifest.json, which is by convention the last file of a data set to be written.

        Raises:
            WriteError: it cannot be written.
        """
        unsigned = self.model_copy(update={"checksum": _UNSIGNED})
        content = (unsigned.model_dump_json(indent=1, exclude_none=True) + "\n").encode()
        write_durably(root / MANIFEST_NAME, content.replace(_UNSIGNED.encode(), _sha256(content).encode(), 1))


def read_manifest(root: Path) -> Manifest:
    """Read ROOT/manifest.json.

    Raises:
        ShardUsageError: there is none, or its format is that of another version.
        ShardDamage: it cannot be read, or is not as it was written.
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
        return  # older formats have no checksum: an old number with one is damage, which the checksum will tell
    raise ShardUsageError(f"{path}: format {version.format} is not format {FORMAT}, which this version reads; {remedy}")


def _checksum(content: bytes, stated: str) -> str:
    return _sha256(content.replace(stated.encode(), _UNSIGNED.encode(), 1))


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
