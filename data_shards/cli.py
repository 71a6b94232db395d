"""The commands `deps shards pack | verify | show`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from data_shards.command_line import MANY, CommandGroup, whole
from data_shards.errors import ShardUsageError
from data_shards.one_line import one_line, readable
from data_shards.packing.cli import app as pack_app

app = typer.Typer(
    cls=CommandGroup,
    help="Pack data sets into shards, check them, look at them.",
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

app.add_typer(pack_app, name="pack")

_Root = Annotated[Path, typer.Argument(metavar="OUT", help="Folder of a packed data set.", show_default=False)]


@app.command("verify", epilog="Example: [bold]deps shards verify data/digits100[/bold]")
def verify_command(
    out: _Root,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as a JSON list.")] = False,
) -> None:
    """Read everything and name each damaged file and sample. Exits with 1 if there is any damage."""
    from data_shards.store.verify import verify

    damages = verify(out)
    if as_json:
        typer.echo(json.dumps([damage.as_dict() for damage in damages], indent=1))
    else:
        for damage in damages:
            typer.echo(one_line(damage))
        if not damages:
            typer.echo(readable(f"{out}: every sample is as it was packed"))
    raise typer.Exit(1 if damages else 0)


@app.command("show", epilog="Example: [bold]deps shards show data/digits100 --split test --output sheet.png[/bold]")
def show_command(
    out: _Root,
    split: Annotated[str, typer.Option(help="Which split to draw.")] = "train",
    output: Annotated[Path | None, typer.Option(help="PNG to write (NAME-SPLIT.png here).")] = None,
    count: Annotated[int, whole(1, 10_000, help="Number of images on the sheet.")] = 60,
    augmented: Annotated[
        Path | None,
        typer.Option(metavar="RECIPE", help="Show images as this recipe trains on them.", show_default=False),
    ] = None,
    epoch: Annotated[int, whole(0, MANY, help="With --augmented: the first of the epochs to show.")] = 0,
    resolution: Annotated[
        int | None, whole(1, 1024, help="With --augmented: side in pixels (as stored, up to 160).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts and the sheet's path as JSON.")] = False,
) -> None:
    """Draw a contact sheet of a split, and count the samples of all splits.

    With --augmented, each line shows a sample as stored, then as training shows it in one epoch after the other. Of
    the recipe, `data.augmentation` and `seed` count.
    """
    from data_shards.looking.sheet import contact_sheet, write_sheet
    from data_shards.looking.sheet import count as count_samples
    from data_shards.store.index import open_split
    from data_shards.store.manifest import read_manifest

    if augmented is None and (epoch or resolution):
        raise ShardUsageError(f"--{'epoch' if epoch else 'resolution'} is for --augmented RECIPE")
    splits = {name: count_samples(open_split(out, name)) for name in read_manifest(out).splits}
    shown = open_split(out, split)
    if augmented is None:
        path, sheet = Path(f"{out.resolve().name}-{split}.png"), contact_sheet(shown, count)
    else:
        from data_shards.looking.augmented import augmented_sheet, read_look

        path = Path(f"{out.resolve().name}-{split}-{augmented.stem}.png")
        sheet = augmented_sheet(shown, read_look(augmented), epoch, count, resolution)
    path = output or path
    try:
        write_sheet(sheet, path)
    except OSError as error:
        raise ShardUsageError(f"{path}: cannot be written: {error.strerror}") from None
    if as_json:
        found = {name: counts._asdict() for name, counts in splits.items()}
        typer.echo(json.dumps({"splits": found, "contact_sheet": str(path)}, indent=1))
        return
    for name, counts in splits.items():
        typer.echo(
            f"{name}: {counts.samples:,} samples, {counts.classes} classes of "
            f"{counts.least:,} to {counts.most:,} (mean {counts.mean:,.1f})"
        )
    typer.echo(readable(f"contact sheet: {path}"))
