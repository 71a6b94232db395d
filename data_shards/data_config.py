"""The recipe's `data`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from data_shards.augment import Augmentation
from data_shards.reader_choice import ReaderName


class DataConfig(BaseModel):
    """Where the images are and how they are read.

    `shards`: folder of a packed data set. `reader`: `python` (libjpeg-turbo and OpenCV), `dali` (NVIDIA DALI; on the
    GPU where there is one) or `auto`, which is `dali` where it is installed and there is a GPU. `workers`: processes
    that read ahead, per rank; 0 reads in the training process itself; for DALI, threads that read and as many that
    decode, at least one. `prefetch`: batches that each worker has ready. `auto` takes both from the machine
    (`data_shards.machine_share`). `evaluation_crop`: side of the square that evaluation shows, as a share of the short
    side (0.875 is ImageNet's convention).

    `on_corrupt`: what a damaged training sample does: `fail` ends the run; `skip` shows another sample, with its own
    label, in its place (see `data_shards.substitution`). `max_corrupt`: the largest share of the training samples that
    may be found damaged before a run that skips fails after all. Samples that results are computed from are never
    skipped: evaluation fails where one is damaged, since its figures would be those of another data set.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    shards: Path
    augmentation: Augmentation = Augmentation()
    reader: ReaderName = "python"
    workers: Annotated[int, Field(ge=0)] | Literal["auto"] = "auto"
    prefetch: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    evaluation_crop: float = Field(default=1.0, gt=0, le=1)
    on_corrupt: Literal["fail", "skip"] = "fail"
    max_corrupt: float = Field(default=0.001, ge=0, lt=1)
