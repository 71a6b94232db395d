"""Where weights come from that were not trained here, and under which licence they are: in `supernet.json`."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from pipeline.files.whole_file import Digest


class Origin(BaseModel):
    """Of imported weights, and of those that were trained from them.

    Attributes:
        network: what was recognised, in words.
        licence: the note that goes with the weights wherever they go.
        file: name of the imported file.
        sha256: of that file.
        besides: digest of what the file had besides the network's tensors (`BESIDES`); None where it is not there.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    network: str
    licence: str
    file: str
    sha256: str
    besides: Digest | None = None

    def note(self, place: Path) -> str:
        """A line for whoever uses the weights in `place`."""
        return f"{place}: weights of {self.file} ({self.network}): {self.licence}"
