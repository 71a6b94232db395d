"""`run.json`: what reports, forecasts and people want to know of a run besides its recipe."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from pipeline.errors import UsageError
from pipeline.files.json_file import DamagedError, checked, read_json
from pipeline.methods.phases import FULL
from pipeline.run.layout import RUN
from pipeline.supernet.origin import Origin


class RunPhase(BaseModel):
    """A phase of the run, in optimizer steps [start, end), and the names of what each of them trains."""

    model_config = ConfigDict(frozen=True)

    name: str
    start: int = Field(ge=0)
    end: int = Field(ge=0)
    slots: tuple[str, ...]
    macs_per_image: float = Field(default=1.0, ge=0)  # in files of earlier versions, whose work counts as steps

    @model_validator(mode="before")
    @classmethod
    def _of_before(cls, content: Any) -> Any:
        """Earlier versions did not tell the slots; they knew one method, whose first phase bears their name."""
        if not isinstance(content, dict) or "slots" in content:
            return content
        slots = (FULL,) if content.get("name") == "full model" else (FULL, "smallest", "random")
        return {**content, "slots": slots}


class RunStart(BaseModel):
    """The weights that the run began with, where they were not drawn: their SHA-256, and where they come from."""

    model_config = ConfigDict(frozen=True)

    sha256: str
    origin: Origin | None = None


class RunDescription(BaseModel):
    """What was trained, how long, on what, and by what. Members with defaults came later than the others."""

    model_config = ConfigDict(frozen=True)

    name: str
    approach: str
    seed: int
    steps: int = Field(gt=0)
    steps_per_epoch: int = Field(gt=0)
    epochs: float = Field(gt=0)
    batch_size: int
    world_size: int = Field(gt=0)
    engine: str
    kernels: str | None = None
    dataset: str
    data: dict[str, str] = {}  # SHA-256 of the index of each split
    validation_samples: int = 0  # training images that were kept out of training
    classes: int = Field(gt=0, lt=1 << 20)
    phases: tuple[RunPhase, ...]
    versions: dict[str, str]
    machine: str
    started: datetime  # of the first start
    start: RunStart | None = None
    predictor: str | None = None  # SHA-256 of the file that subnets are picked by

    @property
    def held_out(self) -> str:
        """In a word, the images that accuracy was measured on in training; `deps evaluate` reads the test split."""
        return "validation" if self.validation_samples else "held-out"


def read_description(folder: Path) -> RunDescription:
    """The description of the run in `folder`.

    Raises:
        UsageError: where `folder` is no run, or its description is damaged.
    """
    path = folder / RUN
    try:
        return checked(read_json(path), TypeAdapter(RunDescription))
    except OSError as error:
        raise UsageError(f"{folder}: is no run folder ({path}: {error.strerror})") from None
    except DamagedError as damage:
        raise UsageError(f"{path}: is damaged: not the description of a run ({damage})") from None
