"""Who reads the same pictures, and what each of them promises to show."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import NamedTuple

from data_shards.decoding import dali as dali_reader
from pipeline.bench.reading import ours
from pipeline.bench.reading.dali_sequential import sequential
from pipeline.bench.reading.photographs import Photographs
from pipeline.bench.reading.pil_pipelines import image_folder, webdataset
from pipeline.bench.reading.shown import Promise, Shown


class ReaderContender(NamedTuple):
    """A way to read the pictures.

    Attributes:
        description: for people.
        read: of (data, workers, endless) its batches, of one pass over the data or without end; may be closed early.
        promise: what a pass must show.
        in_process: reads in the training process itself, without workers.
        dali: needs NVIDIA DALI.
    """

    description: str
    read: Callable[[Photographs, int, bool], Generator[Shown, None, None]]
    promise: Promise
    in_process: bool = False
    dali: bool = False


DECODE, PYTHON_IN_PROCESS, PYTHON = "decode alone", "python reader, in process", "python reader"
DALI, DALI_SEQUENTIAL, WEBDATASET, FOLDER = "dali reader", "DALI's own", "webdataset", "image folder"

_NORMALISED = Promise("normalised", remainder=True)
READERS = {
    DECODE: ReaderContender(
        "samples read at random and decoded whole by libjpeg-turbo, in one process, nothing else: the limit",
        ours.decode_alone,
        Promise("whole", sampled=True),
        in_process=True,
    ),
    PYTHON_IN_PROCESS: ReaderContender(
        "`reader: python` without workers", ours.python_reader, Promise(sampled=True), in_process=True
    ),
    PYTHON: ReaderContender("`reader: python`", ours.python_reader, Promise(sampled=True)),
    DALI: ReaderContender(
        "`reader: dali`, which decodes what our sampler asks for", ours.dali_reader, Promise(sampled=True), dali=True
    ),
    DALI_SEQUENTIAL: ReaderContender(
        "DALI's reader of WebDataset shards in sequence, with its random crop and its own shuffling",
        sequential,
        Promise(),
        dali=True,
    ),
    WEBDATASET: ReaderContender("the webdataset library with PIL, as documented", webdataset, _NORMALISED),
    FOLDER: ReaderContender("torch's DataLoader over files in class folders, with PIL", image_folder, _NORMALISED),
}


def left_out(name: str) -> str | None:
    """Why a contender cannot take part here; None where it can."""
    if READERS[name].dali and not dali_reader.installed():
        return "NVIDIA DALI is not installed"
    return None
