"""From a supernet of ours to a checkpoint that the programs of OFA, CompOFA, DεpS or AttentiveNAS read."""

from __future__ import annotations

import io
from collections import OrderedDict
from pathlib import Path

import torch

from pipeline.errors import UsageError
from pipeline.files.whole_file import write_whole
from pipeline.published.besides import load_besides
from pipeline.published.convert import to_published
from pipeline.published.importing import refuse_existing
from pipeline.supernet.store import load_weights, origin_of


def export_checkpoint(folder: Path, output: Path) -> int:
    """Write the supernet in `folder` to the new file `output`, as `{"state_dict": …}`.

    What was imported is written with the names, counters and statistics that it came with.

    Returns:
        The number of keys.

    Raises:
        UsageError: where `folder` has no supernet, its network is in no published layout, or `output` cannot be written
            or is there already. RunFailure: where the supernet is damaged.
    """
    refuse_existing(output)
    space, weights = load_weights(folder)
    origin = origin_of(folder)
    besides = load_besides(folder, origin.besides) if origin and origin.besides else None
    try:
        state = to_published(weights, space, besides)
    except UsageError as error:
        raise UsageError(f"{folder}: {error}") from None
    content = io.BytesIO()
    torch.save({"state_dict": OrderedDict(state)}, content)
    try:
        write_whole(output, content.getvalue())
    except OSError as error:
        raise UsageError(f"--output {output}: cannot be written: {error.strerror}") from None
    return len(state)
