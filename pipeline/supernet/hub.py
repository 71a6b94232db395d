"""Supernets on the Hugging Face hub, by name: `hf-hub:OWNER/NAME`, or `hf-hub:OWNER/NAME@REVISION`.

The only place that imports huggingface-hub, when a name asks for it. Nothing is ever uploaded here.
"""

from __future__ import annotations

from pathlib import Path

from data_shards.one_line import one_line
from pipeline.errors import RunFailure, UsageError
from pipeline.extras import check_installed
from pipeline.run.layout import SPACE, WEIGHTS

_PREFIX = "hf-hub:"


def is_on_hub(place: Path | str) -> bool:
    """Whether `place` is a name on the hub, and no folder."""
    return str(place).startswith(_PREFIX)


def on_disk(place: Path | str) -> Path:
    """The folder of a supernet: `place` itself, or the local copy of what it names on the hub, downloaded if need be.

    Raises:
        UsageError: where there is no such name, it holds no supernet, or huggingface-hub is not installed.
        RunFailure: where the hub cannot be reached.
    """
    if not is_on_hub(place):
        return Path(place)
    check_installed(str(place), "hub", "huggingface_hub")
    from huggingface_hub import errors, hf_hub_download  # pyright: ignore[reportMissingImports]

    name, _, revision = str(place).removeprefix(_PREFIX).partition("@")
    try:
        folder = Path(hf_hub_download(name, SPACE, revision=revision or None)).parent
        hf_hub_download(name, WEIGHTS, revision=folder.name)  # the commit: the name may get another meanwhile
    except errors.HFValidationError:
        raise UsageError(
            f"{place}: is no name on the hub; {_PREFIX}OWNER/NAME or {_PREFIX}OWNER/NAME@REVISION"
        ) from None
    except errors.RepositoryNotFoundError:
        raise UsageError(f"{place}: is not on the hub, or only for those who are let in: hf auth login") from None
    except errors.RevisionNotFoundError:
        raise UsageError(f"{place}: has no revision '{revision}'") from None
    except errors.LocalEntryNotFoundError as error:  # of the next kind, too
        raise RunFailure(
            f"{place}: the hub cannot be reached, and no copy is here: {one_line(str(error), 160)}"
        ) from None
    except errors.EntryNotFoundError:
        raise UsageError(f"{place}: holds no supernet ({SPACE}, {WEIGHTS})") from None
    except Exception as error:  # whatever the network raises
        raise RunFailure(f"{place}: cannot be downloaded: {one_line(str(error), 160)}") from None
    return folder
