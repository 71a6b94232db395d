"""Which network a state dict is of: found out from its names and shapes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from torch import Tensor

from data_shards.one_line import shown
from pipeline.errors import UsageError
from pipeline.published.attentive_static import static_space
from pipeline.published.layout import layout_of
from pipeline.supernet.networks import NETWORKS, named
from pipeline.supernet.part import StageSpace
from pipeline.supernet.space import Space

AUTO = "auto"

# Parts of names (`names.normal`) that only one of the published networks has; the first that is found tells.
_MARKS = {
    "input_stem.0.": "resnet50",
    "last_conv.": "attentive_nas",
    "final_expand_layer.": "mobilenet_v3",
    "feature_mix_layer.bn.": "proxyless",
}
# Width multipliers, those first that people choose.
_WIDTHS = sorted((number / 100 for number in range(10, 401)), key=lambda width: (len(f"{width:g}"), width))
_CLASSIFIER = "classifier.linear.weight"
_MOST_CLASSES = 100_000


class Recognised(NamedTuple):
    """The space of a state dict, and in words what was found out."""

    space: Space
    words: str


def recognise(state: Mapping[str, Tensor], network: str, resolution: int | None = None) -> Recognised:
    """The network whose weights `state` has, as far as its names and shapes tell.

    Where they are none of it in the end, the space is the nearest, and comparing tensors tells the difference.

    Args:
        state: tensors by their normal names (`names.normal`).
        network: a name out of `NETWORKS`, or AUTO.
        resolution: side of its images, pixels, for a static network, which does not tell it.

    Raises:
        UsageError: where it is of none of the published networks, or not of `network`.
    """
    check_name(network)
    found = _by_marks(state)
    if network == AUTO:
        network = found
    elif not _alike(NETWORKS[network], NETWORKS[found]):
        raise UsageError(f"--network {network}: is another one than the file's, which has the names of {found}")
    classifier = state.get(_CLASSIFIER)
    if classifier is None or classifier.ndim != 2 or not 1 <= len(classifier) <= _MOST_CLASSES:
        raise UsageError(f"has no classifier: {_CLASSIFIER} for 1 to {_MOST_CLASSES} classes is expected for {network}")
    settings: dict[str, Any] = {"classes": len(classifier)}
    words = [network]
    if (width := _width(state, network)) is not None:
        settings["width"] = width
        words.append(f"width {width:g}")
    if (kernels := _kernels(state, network)) is not None:
        settings["kernels"] = kernels
    space = named(network, **settings).space()
    words.append(f"{space.classes} classes")
    has_kernels = any(len(stage.kernels) > 1 and stage.has_transforms for stage in space.stages)
    if has_kernels and not any(name.endswith("_matrix") for name in state):
        space = replace(space, stages=tuple(replace(stage, has_transforms=False) for stage in space.stages))
        words.append("without kernel matrices: smaller kernels are the centre of the largest")
    if found == "attentive_nas" and (static := static_space(state, space)) is not None:
        if resolution not in space.resolutions:
            legal = ", ".join(map(str, space.resolutions))
            raise UsageError(f"is a static network, which does not tell its resolution: give --resolution, of {legal}")
        return Recognised(replace(static, resolutions=(resolution,)), ", ".join(["static " + words[0], *words[1:]]))
    return Recognised(space, ", ".join(words))


def check_name(network: str) -> None:
    """Raises UsageError, with the legal ones, where `network` is no name of a network."""
    if network not in (AUTO, *NETWORKS):
        raise UsageError(f"--network {shown(network)}: legal values: {', '.join((AUTO, *NETWORKS))}")


def fits_name(network: str, space: Space) -> bool:
    """Whether a network of this name can be published as `space` is."""
    return network == AUTO or _alike(NETWORKS[network], space)


def _by_marks(state: Mapping[str, Tensor]) -> str:
    for mark, network in _MARKS.items():
        if any(name.startswith(mark) for name in state):
            return network
    names = ", ".join(shown(name) for name in list(state)[:3])
    raise UsageError(f"is of no network that is known here ({', '.join(_MARKS.values())}); its tensors are {names}, …")


def _alike(one: Space, other: Space) -> bool:
    """Whether two have the same layout, and the same layers outside of their stages."""
    heads = ([layer.name for layer in space.head] for space in (one, other))
    return layout_of(one) is layout_of(other) and next(heads) == next(heads)


def _width(state: Mapping[str, Tensor], network: str) -> float | None:
    """The width multiplier that most of the file's channels have; None where the network has none."""
    if "width" not in type(named(network)).model_fields:
        return None
    blocks = range(len(_channels(NETWORKS[network])) - 1)
    names = ("first_conv.conv.weight", *(f"blocks.{index}.conv.point_linear.conv.weight" for index in blocks))
    found = [*(_rows(state.get(name)) for name in names), state[_CLASSIFIER].shape[1]]

    def alike(width: float) -> int:
        space = named(network, width=width).space()
        mixed = next(layer.widths[-1] for layer in reversed(space.head[:-1]) if layer.widths)
        return sum(map(int.__eq__, (*_channels(space), mixed), found))

    return max(_WIDTHS, key=alike)


def _channels(space: Space) -> list[int]:
    """Outputs of the stem's convolution and of each block, at their largest."""
    return [
        part.widths[-1]
        for part in (*space.stem, *space.stages)
        for _ in range(part.depths[-1] if isinstance(part, StageSpace) else 1)
    ]


def _rows(tensor: Tensor | None) -> int:
    return len(tensor) if tensor is not None and tensor.ndim else 0


def _kernels(state: Mapping[str, Tensor], network: str) -> tuple[int, ...] | None:
    """The network's kernel sizes up to that of most blocks; None where those are the network's own."""
    if "kernels" not in type(named(network)).model_fields:
        return None
    own = sorted({kernel for stage in NETWORKS[network].stages for kernel in stage.kernels})
    sides = Counter(
        tensor.shape[-1]
        for name, tensor in state.items()
        if name.endswith(".depth_conv.conv.weight") and not name.startswith("blocks.0.") and tensor.ndim
    )
    largest = sides.most_common(1)[0][0] if sides else own[-1]
    return None if largest == own[-1] or largest not in own else tuple(k for k in own if k <= largest)
