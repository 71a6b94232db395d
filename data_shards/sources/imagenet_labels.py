"""The labels of ImageNet's validation images, where these are not in folders: reads the usual label files."""

from __future__ import annotations

import io
import lzma
import re
import tarfile
import zlib
from pathlib import Path

from data_shards.errors import ShardDamage, ShardUsageError
from data_shards.sources.text_lines import read_lines
from data_shards.store.regular_file import open_regular, read_regular

GROUND_TRUTH = "ILSVRC2012_validation_ground_truth.txt"
DEVKIT = "ILSVRC2012_devkit_t12"
FORMS = (
    f"one synset in each line, in order of the file names; or FILENAME SYNSET; or {GROUND_TRUTH} with the devkit's "
    "meta.mat"
)

# Where a label file is looked for, below the folder of the data set.
_USUAL_PLACES = (
    "val_labels.txt",
    "imagenet_2012_validation_synset_labels.txt",
    GROUND_TRUTH,
    f"{DEVKIT}/data/{GROUND_TRUTH}",
    f"{DEVKIT}.tar.gz",
)
_SYNSET, _ID = re.compile(r"n[0-9]{8}"), re.compile(r"[0-9]{1,9}")


def find_label_file(src: Path) -> Path:
    """The label file in `src`, or below it.

    Raises:
        ShardUsageError: there is none; the message lists the names that it may have.
    """
    for place in _USUAL_PLACES:
        if (src / place).is_file():
            return src / place
    raise ShardUsageError(
        f"{src}: no label file for the validation images (one of {', '.join(_USUAL_PLACES)}); name it with --val-labels"
    )


def validation_labels(path: Path, names: list[str], known: set[str], src: Path) -> dict[str, str]:
    """The synset of each validation image.

    Args:
        path: of the label file, in one of the forms that `FORMS` lists, or of the devkit's tar.gz.
        names: of the images, in order.
        known: the synsets that there are.
        src: a folder in which the devkit's meta.mat is looked for, if it is not beside the label file.

    Returns:
        Synsets by name of the image.

    Raises:
        ShardUsageError: the file has another form, or a line of it does not fit the images.
        ShardDamage: the devkit's archive, or its meta.mat, is damaged.
    """
    if path.name.endswith((".tar.gz", ".tgz", ".tar")):
        lines, meta = _from_devkit(path)
        lines_from = f"{path}: {GROUND_TRUTH}"
    else:
        lines, meta, lines_from = read_lines(path), None, str(path)
    rows = [line.split() for line in lines]
    if all(len(row) == 1 and _ID.fullmatch(row[0]) for row in rows):
        synsets = _synsets_by_id(_read_meta(path, src) if meta is None else meta, f"{path}: meta.mat")
        rows = [[synsets.get(int(row[0]), row[0])] for row in rows]
    widths = {len(row) for row in rows}
    if widths == {1}:
        if len(rows) != len(names):
            raise ShardUsageError(f"{lines_from}: {len(rows):,} labels for {len(names):,} validation images")
        pairs = list(zip(names, (row[0] for row in rows), strict=True))
    elif widths == {2}:
        pairs = [(name, synset) for name, synset in rows]
    else:
        raise ShardUsageError(f"{lines_from} is not a label file of a known form: {FORMS}")
    return _checked(pairs, lines_from, names, known)


def _checked(pairs: list[tuple[str, str]], path: str, names: list[str], known: set[str]) -> dict[str, str]:
    there, labels = set(names), {}
    for number, (name, synset) in enumerate(pairs, start=1):
        if not _SYNSET.fullmatch(synset):
            raise ShardUsageError(f"{path}, line {number}: {synset!r} is not a synset; the forms are: {FORMS}")
        if synset not in known:
            raise ShardUsageError(f"{path}, line {number}: {synset} is not among the synsets of the training images")
        if name not in there:
            raise ShardUsageError(f"{path}, line {number}: there is no validation image {name}")
        if name in labels:
            raise ShardUsageError(f"{path}, line {number}: {name} occurs twice")
        labels[name] = synset
    for name in names:
        if name not in labels:
            raise ShardUsageError(f"{path}: no label for the validation image {name}")
    return labels


def _read_meta(path: Path, src: Path) -> bytes:
    places = [path.parent / "meta.mat", src / "meta.mat", src / DEVKIT / "data" / "meta.mat"]
    for place in places:
        if place.is_file():
            return read_regular(place)
    if (src / f"{DEVKIT}.tar.gz").is_file():
        return _from_devkit(src / f"{DEVKIT}.tar.gz")[1]
    raise ShardUsageError(f"{path} holds the devkit's ids: its meta.mat is needed beside it, to tell their synsets")


def _from_devkit(path: Path) -> tuple[list[str], bytes]:
    """The lines of the ground truth and the bytes of meta.mat, from the devkit's archive."""
    wanted = {f"data/{GROUND_TRUTH}": b"", "data/meta.mat": b""}
    try:
        with open(open_regular(path), "rb") as opened, tarfile.open(fileobj=opened) as tar:
            for member in tar:
                for name in wanted:
                    file = tar.extractfile(member) if member.isreg() and member.name.endswith(name) else None
                    wanted[name] = file.read() if file else wanted[name]
    except (OSError, EOFError, tarfile.TarError, zlib.error, lzma.LZMAError) as error:
        raise ShardDamage(path, f"cannot be read as a tar: {' '.join(str(error).split())}") from None
    for name, content in wanted.items():
        if not content:
            raise ShardUsageError(f"{path}: holds no {name}")
    truth, meta = wanted.values()
    return truth.decode("ascii", "replace").splitlines(), meta


def _synsets_by_id(meta: bytes, place: str) -> dict[int, str]:
    """The synsets by the devkit's ids, which count from 1, from its MATLAB file."""
    from scipy.io import loadmat  # slow to import, and needed for this file only

    try:
        table = loadmat(io.BytesIO(meta), squeeze_me=True, variable_names=["synsets"])["synsets"]
        return {int(row["ILSVRC2012_ID"]): str(row["WNID"]) for row in table}
    except Exception as error:  # a damaged MATLAB file may raise anything
        reason = " ".join(str(error).split())
        raise ShardDamage(place, f"is not the devkit's table of synsets: {reason}") from None
