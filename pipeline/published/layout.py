"""What published state dicts call our tensors: one table for each kind of network, read in both directions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from torch import Tensor

from data_shards.one_line import shown
from pipeline.errors import UsageError
from pipeline.published.names import TRACKED
from pipeline.supernet.belonging import without_memory
from pipeline.supernet.part import StageSpace
from pipeline.supernet.space import Space

# A name of our state: block, layer in it (or in stem and head), and which of the layer's tensors.
_OURS = re.compile(r"(?:blocks\.(?P<block>\d+)\.)?(?P<layer>.+?)\.(?P<matrix>transforms\.)?(?P<part>\w+)")
_VARIANCE = "running_var"  # the last of a batch norm's tensors that ours have; theirs have a counter after it


class Place(NamedTuple):
    """Where a published state dict has a tensor.

    Attributes:
        name: as it is published.
        shape: as ours, but for linear layers on pooled features, which are 1×1 convolutions there.
    """

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Layout:
    """How a kind of network is published.

    Attributes:
        name: for people.
        modules: the published module of each of our layers, by the layer's name in its block, or in stem and head; with
            `{block}`, the number of the block, `{stage_block}`, the same without the stem's blocks, and `{stem_end}`,
            the number of the layer behind the stem's blocks. A convolution ends in `conv`, a batch norm in `bn`.
        wrapped: where elastic networks repeat that end (`conv.conv`): in all layers, or in the stages' blocks.
        prefix: of all names.
    """

    name: str
    modules: Mapping[str, str]
    wrapped: Literal["all", "stages"]
    prefix: str = ""

    def spelled(self, space: Space, name: str) -> str:
        """What it calls the tensor that is `name` in the state of our supernet of `space`.

        Raises:
            UsageError: where it has no place for it.
        """
        match = _OURS.fullmatch(name)
        module = self.modules.get(match["layer"]) if match else None
        if match is None or module is None:
            raise UsageError(f"{name}: has no place in the layout of {self.name}")
        in_stem = sum(part.depths[-1] for part in space.stem if isinstance(part, StageSpace))
        block = -1 if match["block"] is None else int(match["block"])
        module = module.format(block=block, stage_block=block - in_stem, stem_end=1 + in_stem)
        if match["matrix"]:
            return f"{self.prefix}{module}.{match['part']}_matrix"
        elastic = space.largest() != space.smallest()
        if elastic and (self.wrapped == "all" or block >= in_stem):
            module = _wrapped(module)
        return f"{self.prefix}{module}.{match['part']}"


def _wrapped(module: str) -> str:
    end = module.rpartition(".")[2]
    return f"{module}.{end}" if end in ("conv", "bn", "linear") else module


OFA = Layout(
    name="OFA's MobileNetV3 and Proxyless",
    modules={
        "stem": "first_conv.conv",
        "stem_bn": "first_conv.bn",
        "expand": "blocks.{block}.conv.inverted_bottleneck.conv",
        "expand_bn": "blocks.{block}.conv.inverted_bottleneck.bn",
        "depthwise": "blocks.{block}.conv.depth_conv.conv",
        "depthwise_bn": "blocks.{block}.conv.depth_conv.bn",
        "squeeze_excite.reduce": "blocks.{block}.conv.depth_conv.se.fc.reduce",
        "squeeze_excite.expand": "blocks.{block}.conv.depth_conv.se.fc.expand",
        "project": "blocks.{block}.conv.point_linear.conv",
        "project_bn": "blocks.{block}.conv.point_linear.bn",
        "final_expand": "final_expand_layer.conv",
        "final_bn": "final_expand_layer.bn",
        "feature_mix": "feature_mix_layer.conv",
        "feature_mix_bn": "feature_mix_layer.bn",
        "classifier": "classifier.linear",
    },
    wrapped="stages",
)

OFA_RESNET = Layout(
    name="OFA's ResNet50D",
    modules={
        "stem": "input_stem.0.conv",
        "stem_bn": "input_stem.0.bn",
        "conv": "input_stem.1.conv.conv",
        "conv_bn": "input_stem.1.conv.bn",
        "stem_out": "input_stem.{stem_end}.conv",
        "stem_out_bn": "input_stem.{stem_end}.bn",
        **{
            ours + norm: f"blocks.{{stage_block}}.{theirs}.{norm.strip('_') or 'conv'}"
            for ours, theirs in {"conv1": "conv1", "conv2": "conv2", "conv3": "conv3", "shortcut": "downsample"}.items()
            for norm in ("", "_bn")
        },
        "classifier": "classifier.linear",
    },
    wrapped="all",
)

ATTENTIVE_NAS = Layout(
    name="AttentiveNAS and AlphaNet",
    modules={
        **{layer: name.replace("}.conv.", "}.mobile_inverted_conv.") for layer, name in OFA.modules.items()},
        "shortcut": "blocks.{block}.shortcut.conv",
        "final_expand": "last_conv.final_expand_layer.conv",
        "final_bn": "last_conv.final_expand_layer.bn",
        "feature_mix": "last_conv.feature_mix_layer.conv",
    },
    wrapped="all",
    prefix="module.",
)


def layout_of(space: Space) -> Layout:
    """The layout that networks like `space` are published in.

    Raises:
        UsageError: where there is none.
    """
    kinds, shortcuts = ({getattr(stage, what) for stage in space.stages} for what in ("block", "shortcut"))
    if kinds == {"mbconv"}:
        return ATTENTIVE_NAS if "projected" in shortcuts else OFA
    if kinds == {"bottleneck"}:
        return OFA_RESNET
    raise UsageError(f"blocks of the kind {shown(kinds.pop())} are in no published layout")


def places(space: Space) -> dict[str, Place]:
    """The place of each tensor of our supernet's state, by our name.

    Raises:
        UsageError: naming the tensor that no published layout has a place for.
    """
    layout, network = layout_of(space), without_memory(space).state_dict()
    return {name: Place(layout.spelled(space, name), _shape(name, tensor)) for name, tensor in network.items()}


def counter(place: str) -> str | None:
    """The name of the counter that a batch norm's layout has behind its variance; None where `place` is another."""
    module, _, part = place.rpartition(".")
    return f"{module}.{TRACKED}" if part == _VARIANCE else None


def _shape(name: str, tensor: Tensor) -> tuple[int, ...]:
    is_convolution = tensor.ndim == 2 and name.endswith(".weight") and not name.startswith("classifier.")
    return (*tensor.shape, 1, 1) if is_convolution else tuple(tensor.shape)
