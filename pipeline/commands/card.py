"""`deps card`: a trained supernet with its model card, in a folder that the Hugging Face hub takes as it is."""

from __future__ import annotations

from pathlib import Path

from data_shards.one_line import shown
from data_shards.store.regular_file import read_regular
from pipeline.errors import UsageError
from pipeline.files.whole_file import Digest
from pipeline.files.whole_folder import whole_folder
from pipeline.published.importing import refuse_existing
from pipeline.reports.card import Published, card, is_licence
from pipeline.reports.run_record import ReportError, read_run
from pipeline.reports.searched import read_front
from pipeline.run.folder import read_recipe
from pipeline.run.layout import CARD, SPACE, WEIGHTS
from pipeline.supernet.store import load_weights, origin_of


def write_card(run: Path, output: Path, licence: str) -> list[Path]:
    """Write the supernet of `run` and its card into the new folder `output`, all or nothing; the files' paths.

    Args:
        licence: by the hub's identifier, as `apache-2.0`.

    Raises:
        UsageError: where `run` is no finished run, or `output` is there already or cannot be written.
        RunFailure: where what the run holds is damaged.
    """
    refuse_existing(output)
    if not is_licence(licence):
        raise UsageError(f"--license {shown(licence)}: is none of the hub's names, as apache-2.0, cc-by-nc-4.0, other")
    recipe = read_recipe(run)
    space, _ = load_weights(run)
    contents = {name: read_regular(run / name) for name in (WEIGHTS, SPACE)}
    try:
        published = Published(
            run=read_run(run),
            recipe=recipe,
            space=space,
            front=read_front(run),
            origin=origin_of(run),
            licence=licence,
            files={name: Digest.of(content) for name, content in contents.items()},
        )
    except ReportError as error:
        raise UsageError(str(error)) from None
    contents[CARD] = card(published).encode()
    try:
        with whole_folder(output) as folder:
            for name, content in contents.items():
                (folder / name).write_bytes(content)
    except OSError as error:
        raise UsageError(f"--output {output}: cannot be written: {error.strerror}") from None
    return [output / name for name in contents]


def print_card(run: Path, output: Path, licence: str) -> None:
    """Do it, and tell what was written and how it is uploaded."""
    files = write_card(run, output, licence)
    print(", ".join(map(str, files)))
    if origin := origin_of(output):
        print(origin.note(output))
    print(f"Nothing was uploaded; that does: hf upload OWNER/NAME {output}")
