"""The commands `deps shards pack DATASET …`: one for each kind of data set, with the options that it has."""

from __future__ import annotations

import json
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from data_shards.command_line import SEEDS, CommandGroup, real, whole
from data_shards.errors import ShardUsageError, UndecodableImages
from data_shards.one_line import one_line, readable, shown

if TYPE_CHECKING:
    from data_shards.sources import Source
    from data_shards.store.manifest import Manifest


class _DataSets(CommandGroup):
    """Data sets that can be packed; where another is asked for, one line says so."""

    def resolve_command(self, ctx: Any, args: list[str]):
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            raise ShardUsageError(
                f"{shown(args[0])} is no data set that can be packed; these can: {', '.join(self.list_commands(ctx))}"
            )
        return super().resolve_command(ctx, args)


app = typer.Typer(
    cls=_DataSets,
    help="Write a data set as WebDataset tars with an index and checksums. Nothing is downloaded. OUT is a "
    "data set when all is there; where it already holds exactly this, nothing is done; after a kill, the same command "
    "goes on.",
    epilog="Example: [bold]deps shards pack digits100 data/digits100 --train 20000 --seed 1[/bold]",
    rich_markup_mode="rich",
)


class OnCorrupt(str, Enum):
    """What to do about images that cannot be decoded."""

    fail = "fail"
    skip = "skip"


_Out = Annotated[Path, typer.Argument(metavar="OUT", help="Folder to create, or an empty one.", show_default=False)]
_Src = Annotated[Path, typer.Argument(metavar="SRC", help="Where the published files are.", show_default=False)]
_ShardSize = Annotated[int, whole(1, 10_000_000, help="Largest number of samples in one tar.")]
_Threads = Annotated[int | None, whole(1, 1024, help="Images packed at once (as many as processors).")]
_Seed = Annotated[int, whole(0, SEEDS, help="Of the order of the images in the shards.")]
_ShortSide = Annotated[
    int | None, whole(1, 65535, help="Shrink larger images to this short side in pixels (their sizes are kept).")
]
_Quality = Annotated[int, whole(1, 100, help="Of JPEGs that are encoded anew: resized, or no plain JPEG before.")]
_OnCorrupt = Annotated[
    OnCorrupt, typer.Option(help="Images that cannot be decoded: refuse to pack, or leave out, up to 1 %, and list.")
]
_Json = Annotated[bool, typer.Option("--json", help="Print what was packed as JSON.")]


@app.command("digits", epilog="Example: [bold]deps shards pack digits data/digits[/bold]")
def digits_command(
    out: _Out,
    train: Annotated[int | None, typer.Option(hidden=True)] = None,
    test: Annotated[int | None, typer.Option(hidden=True)] = None,
    seed: Annotated[int | None, typer.Option(hidden=True)] = None,
    samples_per_shard: _ShardSize = 5000,
    threads: _Threads = None,
    as_json: _Json = False,
) -> None:
    """1797 scanned digits, which come with scikit-learn."""
    from data_shards.sources.digits import Digits

    for name, value in (("train", train), ("test", test), ("seed", seed)):
        if value is not None:
            raise ShardUsageError(f"--{name} is for digits100: digits has a fixed content")
    _pack(Digits(), out, samples_per_shard, threads, as_json)


@app.command("digits100", epilog="Example: [bold]deps shards pack digits100 data/digits100 --train 20000[/bold]")
def digits100_command(
    out: _Out,
    train: Annotated[int, whole(1, 10_000_000, help="Training images.")] = 20_000,
    test: Annotated[int, whole(1, 10_000_000, help="Test images.")] = 4_000,
    seed: Annotated[int, whole(0, SEEDS, help="Of the drawing.")] = 0,
    samples_per_shard: _ShardSize = 5000,
    threads: _Threads = None,
    as_json: _Json = False,
) -> None:
    """Two scanned digits side by side, 100 classes: a benchmark without a download."""
    from data_shards.sources.digits100 import Digits100

    _pack(Digits100(train, test, seed), out, samples_per_shard, threads, as_json)


@app.command("cifar10", epilog="Example: [bold]deps shards pack cifar10 cifar-10-python.tar.gz data/cifar10[/bold]")
def cifar10_command(
    src: _Src,
    out: _Out,
    seed: _Seed = 0,
    samples_per_shard: _ShardSize = 5000,
    threads: _Threads = None,
    as_json: _Json = False,
) -> None:
    """CIFAR-10. SRC: cifar-10-python.tar.gz or cifar-10-binary.tar.gz, or the folder with it, or what it unpacks to.

    Kept without loss, as PNG.
    """
    from data_shards.sources.cifar import Cifar

    _pack(Cifar("cifar10", src, seed), out, samples_per_shard, threads, as_json)


@app.command("cifar100", epilog="Example: [bold]deps shards pack cifar100 cifar-100-python.tar.gz data/cifar100[/bold]")
def cifar100_command(
    src: _Src,
    out: _Out,
    seed: _Seed = 0,
    samples_per_shard: _ShardSize = 5000,
    threads: _Threads = None,
    as_json: _Json = False,
) -> None:
    """CIFAR-100, fine labels. SRC: cifar-100-python.tar.gz or -binary.tar.gz, or its folder, or what it unpacks to.

    Kept without loss, as PNG.
    """
    from data_shards.sources.cifar import Cifar

    _pack(Cifar("cifar100", src, seed), out, samples_per_shard, threads, as_json)


@app.command(
    "imagenet",
    epilog="Examples: [bold]deps shards pack imagenet /data/ILSVRC2012 data/imagenet1k[/bold] · "
    "[bold]deps shards pack imagenet /data/ILSVRC2012 data/imagenet100 --classes imagenet100.txt[/bold]",
)
def imagenet_command(
    src: _Src,
    out: _Out,
    classes: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Take these synsets only, one in each line (all).")
    ] = None,
    val_labels: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Labels of the flat validation images (searched for in SRC).")
    ] = None,
    short_side: _ShortSide = None,
    quality: _Quality = 95,
    on_corrupt: _OnCorrupt = OnCorrupt.fail,
    seed: _Seed = 0,
    samples_per_shard: _ShardSize = 5000,
    threads: _Threads = None,
    as_json: _Json = False,
) -> None:
    """ILSVRC2012, or some of its classes. The validation images become the split `test`.

    SRC holds ILSVRC2012_img_train.tar or train/SYNSET/…, and ILSVRC2012_img_val.tar or val/. The labels of val, where
    it is not in folders by synset: ILSVRC2012_devkit_t12.tar.gz, ILSVRC2012_validation_ground_truth.txt with the
    devkit's meta.mat, one synset in each line in order of the file names, or lines of FILENAME SYNSET.
    """
    from data_shards.sources.image_file import Preparation
    from data_shards.sources.imagenet import imagenet

    preparation = Preparation(short_side, quality)
    _pack(imagenet(src, preparation, seed, classes, val_labels), out, samples_per_shard, threads, as_json, on_corrupt)


@app.command(
    "folder",
    epilog="Examples: [bold]deps shards pack folder flowers data/flowers --short-side 256[/bold] · "
    "[bold]deps shards pack folder photos data/photos --test-share 0.1[/bold]",
)
def folder_command(
    src: Annotated[Path, typer.Argument(metavar="SRC", help="The tree of images.", show_default=False)],
    out: _Out,
    test_share: Annotated[
        float | None, real(0, 1, help="Of a tree without splits: the share of each class to hold out as test.")
    ] = None,
    short_side: _ShortSide = None,
    quality: _Quality = 95,
    on_corrupt: _OnCorrupt = OnCorrupt.fail,
    seed: _Seed = 0,
    samples_per_shard: _ShardSize = 5000,
    threads: _Threads = None,
    as_json: _Json = False,
) -> None:
    """Any images in class folders: SRC/train/CLASS/… with SRC/test/CLASS/… or SRC/val/CLASS/…, or SRC/CLASS/…"""
    from data_shards.sources.folder import folder
    from data_shards.sources.image_file import Preparation

    preparation = Preparation(short_side, quality)
    _pack(folder(src, preparation, seed, test_share), out, samples_per_shard, threads, as_json, on_corrupt)


def _pack(
    source: Source,
    out: Path,
    samples_per_shard: int,
    threads: int | None,
    as_json: bool,
    on_corrupt: OnCorrupt = OnCorrupt.fail,
) -> None:
    from data_shards.packing.pack import pack
    from data_shards.store.manifest import read_manifest

    try:
        packed = pack(source, out, samples_per_shard, threads, on_corrupt.value)
    except UndecodableImages as error:
        if as_json:
            typer.echo(json.dumps({"out": str(out), "packed": False, "undecodable": error.images}, indent=1))
        else:
            for image in error.images:
                typer.echo(one_line(image), err=True)
        raise
    manifest = read_manifest(out)
    typer.echo(json.dumps(_as_dict(out, manifest, packed), indent=1) if as_json else _in_words(out, manifest, packed))


def _as_dict(out: Path, manifest: Manifest, packed: bool) -> dict[str, object]:
    return {
        "out": str(out),
        "dataset": manifest.dataset,
        "packed": packed,
        "splits": {split: entry.samples for split, entry in manifest.splits.items()},
        "classes": len(manifest.classes),
        "bytes": sum(shard.bytes for entry in manifest.splits.values() for shard in entry.shards),
        "changed": manifest.notes.changed if manifest.notes else {},
        "left_out": [image.model_dump() for image in manifest.notes.left_out] if manifest.notes else [],
    }


def _in_words(out: Path, manifest: Manifest, packed: bool) -> str:
    sizes = ", ".join(f"{entry.samples:,} {split}" for split, entry in manifest.splits.items())
    lines = [readable(f"{out}: {sizes} images in {len(manifest.classes)} classes{'' if packed else ', already there'}")]
    if manifest.notes:
        lines += [f"{_images(count)}: {change}" for change, count in manifest.notes.changed.items()]
        if manifest.notes.left_out:
            lines.append(f"{_images(len(manifest.notes.left_out))} left out as undecodable:")
            lines += [f"  {one_line(f'{image.name}: {image.reason}')}" for image in manifest.notes.left_out]
    return "\n".join(lines)


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count:,} images"
