"""The recipe's `data`: where the images are, and how they are read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from data_shards.augmentation.config import Augmentation
from data_shards.augmentation.crops import Interpolation
from data_shards.may_change import MayChange

ReaderName = Literal["python", "dali", "auto"]

_URL = re.compile(r"https?://[!-~]+/")
_COMMAND = re.compile(r"pipe:[^\0\ud800-\udfff]*\{\}[^\0\ud800-\udfff]*")


class DataConfig(BaseModel):
    """Where the images are and how they are read.

    What is `auto` follows from the machine (`loading.choice`, `loading.automatic`). Whatever shows samples as they are
    stored shows them by `evaluation_crop` and `evaluation_interpolation`, recalibration too: its statistics should be
    of what is evaluated.

    Attributes:
        shards: folder of a packed data set.
        reader: `python` (libjpeg-turbo and OpenCV), `dali` (NVIDIA DALI; on the GPU where there is one) or `auto`,
            which is `dali` where it is installed, there is a GPU and DALI does all that is asked.
        workers: processes that read ahead, per rank; 0 reads in the training process itself; for DALI, the number of
            threads that read and of as many that decode, at least one.
        prefetch: batches that each worker has ready.
        evaluation_crop: side of the square that evaluation shows, as a share of the short side (0.875 is ImageNet's
            convention).
        evaluation_interpolation: `fast` cuts that square and resizes it, as training does with its windows; `bilinear`
            and `bicubic` give the pixels of torchvision's Resize and CenterCrop on PIL images, by which published
            accuracies were measured. They are the Python reader's, whichever reader `auto` takes for training.
        on_corrupt: what happens at a damaged training sample: `fail` ends the run; `skip` shows another sample, with
            its own label, in its place (see `loading.substitution`).
        max_corrupt: the share of the training samples that may be found damaged before a run that skips them fails
            after all. Samples from which results are computed are never skipped: evaluation fails where one is damaged,
            as its figures would be those of another data set.
        validation_samples: number of training images that are kept out of training. While a run goes on, accuracy is
            then measured and checkpoints are chosen on them, and training does not read the test split. Which images
            they are follows from the number of training images alone (see `open_data.validation_ids`).
        access: `random` reads each sample at its place; `sequential` reads shards from one end to the other, through
            the webdataset library (`python`) or DALI's own reader (`dali`), for storage where random access is slow.
            The order of the samples then depends on the number of processes too, and with `python` on `workers`, which
            must be a number (see `streaming.sampler`).
        shuffle_block: number of samples that sequential access shuffles at a time.
        stream_from: where the training shards are, if not in the folder: a URL that ends in `/`, or `pipe:` and a
            command that writes a shard, in which `{}` stands for `train/train-000000.tar`. The names of shards have no
            characters that mean anything to a shell, in quotation marks or not, so that the recipe alone decides what
            runs.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    shards: MayChange[Path]
    augmentation: Augmentation = Augmentation()
    validation_samples: int = Field(default=0, ge=0)
    reader: ReaderName = "python"
    access: Literal["random", "sequential"] = "random"
    shuffle_block: int = Field(default=1024, ge=1)
    stream_from: str | None = None
    workers: MayChange[Annotated[int, Field(ge=0)] | Literal["auto"]] = "auto"
    prefetch: MayChange[Annotated[int, Field(ge=1)] | Literal["auto"]] = "auto"
    evaluation_crop: float = Field(default=1.0, gt=0, le=1)
    evaluation_interpolation: Literal["fast"] | Interpolation = "fast"
    # Damaged samples apart: a run that failed for one may go on by skipping it.
    on_corrupt: MayChange[Literal["fail", "skip"]] = "fail"
    max_corrupt: MayChange[float] = Field(default=0.001, ge=0, lt=1)

    @field_validator("stream_from")
    @classmethod
    def _place(cls, value: str | None) -> str | None:
        if value is not None and not (_URL.fullmatch(value) or _COMMAND.fullmatch(value)):
            raise ValueError(
                f"{value!r} is neither https://HOST/…/ (or http://) in ASCII, with a / at the end, nor 'pipe:COMMAND', "
                "with {} where the shard's name goes"
            )
        return value

    @model_validator(mode="after")
    def _resizes(self) -> DataConfig:
        if self.evaluation_interpolation != "fast" and self.reader == "dali":
            raise ValueError(
                f"evaluation_interpolation: {self.evaluation_interpolation} is for reader: python or auto, not dali"
            )
        return self

    @model_validator(mode="after")
    def _streams(self) -> DataConfig:
        if self.stream_from is not None and (self.access, self.reader) != ("sequential", "python"):
            raise ValueError(
                f"stream_from: is for access: sequential with reader: python, not {self.access} with {self.reader}"
            )
        return self
