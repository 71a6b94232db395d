"""Latency tables as OFA publishes them (Cai et al., ICLR 2020): YAML, mean milliseconds by a text of a layer's shapes.

There are two kinds, of its MobileNetV3 and of its Proxyless. A file of theirs is of one resolution; the sizes are in
the texts, so files of several resolutions may be joined to one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field, TypeAdapter

from data_shards.strict_yaml import NotYaml, read_yaml
from pipeline.errors import UsageError
from pipeline.files.json_file import checked
from pipeline.files.whole_file import DamagedError
from pipeline.supernet.layer import BlockShape, Layer, strided

_MOST_BYTES = 4 << 20


class _Mean(BaseModel):
    """What is told of a layer, besides what is not needed: milliseconds."""

    mean: Annotated[float, Field(ge=0, allow_inf_nan=False)]


_ENTRIES = TypeAdapter(dict[str, _Mean])


@dataclass(frozen=True)
class PublishedLatencies:
    """The latencies of a file; see `Latencies`.

    Attributes:
        milliseconds: by text.
    """

    path: Path
    milliseconds: Mapping[str, float]
    constant: float = 0.0

    @property
    def source(self) -> str:
        return f"OFA's table {self.path.name}"

    @property
    def _names_middle(self) -> bool:
        """Whether texts are those of MobileNetV3's, with the middle channels of a block for its expand ratio."""
        return any("-hs:" in text for text in self.milliseconds)

    def of(self, found: Sequence[Layer | BlockShape], resolution: int) -> float:
        """See `Latencies`."""
        total = 0.0
        for text in _texts(found, resolution, self._names_middle):
            if text not in self.milliseconds:
                raise UsageError(f"{self.path}: has no '{text}': it is of another resolution or another space")
            total += self.milliseconds[text] / 1000
        return total


def read_published(path: Path) -> PublishedLatencies:
    """The table in a YAML file.

    Raises:
        UsageError: where it cannot be read, or is no such table.
    """
    try:
        entries = checked(read_yaml(path, _MOST_BYTES), _ENTRIES)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    except NotYaml as error:
        raise UsageError(f"{path}: {error}") from None
    except DamagedError as damage:
        raise UsageError(f"{path}: is no latency table of OFA's: {damage}") from None
    return PublishedLatencies(path, {text: entry.mean for text, entry in entries.items()})


def _texts(found: Sequence[Layer | BlockShape], resolution: int, names_middle: bool) -> Iterator[str]:
    """The texts of a stem, of a block or of a head.

    Of MobileNetV3's head, all layers have one; of Proxyless's, what follows the convolution has one together.
    """
    side, linear = resolution, [part for part in found if isinstance(part, Layer) and part.kind == "linear"]
    for part in found:
        if isinstance(part, BlockShape):
            yield _block(part, names_middle)
            side = strided(part.side, part.stride)
        elif part.kind == "conv" and part.kernel == 1:
            yield _text("Conv_1", (part.side, part.side, part.inputs), (part.side, part.side, part.outputs))
            side = part.side
        elif part.kind == "linear" and part is linear[-1]:
            inner = 1 if names_middle else side
            yield _text("Logits", (inner, inner, part.inputs), (part.outputs,))
        elif part.kind == "linear":
            yield _text("Conv_2", (1, 1, part.inputs), (1, 1, part.outputs))
        elif part.kind == "pool":
            if names_middle:
                yield _text("AvgPool2D", (side, side, part.inputs), (1, 1, part.outputs))
        else:
            yield _text("Conv", (side, side, part.inputs), (part.side, part.side, part.outputs))
            side = part.side


def _block(shape: BlockShape, names_middle: bool) -> str:
    side = strided(shape.side, shape.stride)
    expand = shape.middle if names_middle else round(shape.middle / shape.inputs)
    numbers = {
        "expand": expand,
        "kernel": shape.kernel,
        "stride": shape.stride,
        "idskip": int(shape.shortcut == "identity"),
    }
    if names_middle:
        numbers |= {"se": int(shape.squeeze_excite), "hs": int(shape.activation == "h_swish")}
    more = "".join(f"-{name}:{number}" for name, number in numbers.items())
    return _text("expanded_conv", (shape.side, shape.side, shape.inputs), (side, side, shape.outputs)) + more


def _text(kind: str, inputs: Sequence[int], outputs: Sequence[int]) -> str:
    return f"{kind}-input:{'x'.join(map(str, inputs))}-output:{'x'.join(map(str, outputs))}"
