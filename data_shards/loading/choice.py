"""Which reader is used for a recipe's `data.reader`, on this machine and for this data."""

from __future__ import annotations

from typing import Literal

import torch

from data_shards.augmentation.config import Augmentation
from data_shards.config import ReaderName
from data_shards.decoding import dali as dali_reader
from data_shards.errors import ShardUsageError
from data_shards.store.index import Split


def choose_reader(wanted: ReaderName, augmentation: Augmentation, split: Split) -> Literal["python", "dali"]:
    """The reader that is wanted. `auto` is DALI where it is installed, there is a GPU, and DALI can do what is asked.

    Args:
        wanted: the recipe's `data.reader`.
        augmentation: what the reader has to do.
        split: what it has to read.

    Raises:
        ShardUsageError: `dali` is wanted, and is not installed or cannot do what the recipe asks for.
    """
    refusal = _refusal(augmentation, split)
    if wanted == "dali":
        dali_reader.require_dali()
        if refusal:
            raise ShardUsageError(f"data.reader: dali does not {refusal}; use python")
        return "dali"
    if wanted == "auto" and torch.cuda.is_available() and dali_reader.installed() and not refusal:
        return "dali"
    return "python"


def _refusal(augmentation: Augmentation, split: Split) -> str | None:
    """What of a recipe DALI does not do, in words; None where it does all."""
    if augmentation.auto_augment != "none":  # done after cropping, on the CPU: it would keep the trainer waiting
        return f"do augmentation.auto_augment: {augmentation.auto_augment}"
    if augmentation.crop == "padded":
        smallest = int(min(split.index["height"].min(), split.index["width"].min()))
        if 2 * augmentation.padding >= smallest:
            return (
                f"reflect as far as augmentation.padding {augmentation.padding} on images of {smallest} pixels "
                "(it must be less than half of that)"
            )
    return None
