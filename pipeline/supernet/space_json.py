"""A space as JSON, which `supernet.json` holds; read so that nothing unbuildable passes for one."""

from __future__ import annotations

import itertools
import re
from typing import Any

from pydantic import TypeAdapter

from data_shards.one_line import shown
from pipeline.files.json_file import checked
from pipeline.files.whole_file import DamagedError
from pipeline.supernet.blocks import BLOCKS
from pipeline.supernet.complexity import complexity
from pipeline.supernet.networks.mobilenet_v3 import MobileNetV3
from pipeline.supernet.part import LayerSpace, StageSpace
from pipeline.supernet.space import Space
from pipeline.supernet.supernet import RESERVED

_SPACE = TypeAdapter(Space)
_NAME = re.compile("[a-z][a-z0-9_]*")
_MOST_BLOCKS, _MOST_PARAMETERS = 1000, 10**10


def space_from_dict(content: dict[str, Any]) -> Space:
    """The inverse of `dataclasses.asdict` on a Space, after a round trip through JSON; of earlier versions' as well.

    Raises:
        DamagedError: `content` is no space.
    """
    # When there was no network but MobileNetV3, its numbers were written.
    space = checked(content, TypeAdapter(MobileNetV3)).space() if "first" in content else checked(content, _SPACE)
    if reason := _impossible(space):
        raise DamagedError(f"no network is like that: {reason}")
    return space


def _impossible(space: Space) -> str | None:
    """Why no network can be built of `space`, or none of a size that ends in time; None where one can."""
    parts = (*space.stem, *space.stages, *space.head)
    layers = [part for part in parts if isinstance(part, LayerSpace)]
    stages = [part for part in parts if isinstance(part, StageSpace)]
    names = [name for layer in layers for name in (layer.name, layer.norm) if name is not None]
    if len(set(names)) < len(names) or not all(map(_NAME.fullmatch, names)) or {*names} & RESERVED:
        return "its layers have no names of their own"
    choices = [space.resolutions, *(layer.widths for layer in layers if layer.widths)]
    choices += [each for stage in stages for each in (stage.kernels, stage.expands)]
    # What keeps the channels, in the stem, may be left out.
    kept = [stage for stage in space.stem if isinstance(stage, StageSpace) and not stage.widths]
    choices += [each for stage in stages if stage not in kept for each in (stage.widths, stage.depths)]
    choices += [tuple(depth for depth in stage.depths if depth != 0) for stage in kept]
    numbers = [space.epsilon, space.loaded or 1, *(part.stride for part in parts)]
    numbers += [number for layer in layers for number in (layer.kernel, layer.expand)]
    numbers += itertools.chain(*choices, *(tie for stage in stages for tie in stage.ties))
    if not all(choices) or not all(0 < number < 1 << 20 for number in numbers):
        return "a choice is empty or out of range"
    if any({depth for depth, _ in stage.ties} != set(stage.depths) for stage in stages if stage.ties):
        return "not every depth is tied to an expand ratio"
    if unknown := [stage.block for stage in stages if stage.block not in BLOCKS]:
        return f"it has blocks of the kind {shown(unknown[0])}"
    last = space.head[-1] if space.head else None
    if not space.stages or last is None or not (last.kind == "linear" and last.widths and last.bias):
        return "it has no stage or no classifier"
    if sum(stage.depths[-1] for stage in stages) > _MOST_BLOCKS:
        return f"it has more than {_MOST_BLOCKS} blocks"
    return "it is too large" if complexity(space, space.largest()).parameters > _MOST_PARAMETERS else None
