"""What is published, as our supernets have it: names of tensors, and subnets.

Stated apart from `pipeline.published`, for comparison.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from torch import Tensor

from pipeline.supernet.networks import NETWORKS
from pipeline.supernet.space import Space
from pipeline.supernet.subnet import BlockChoice, StageChoice, Subnet
from tests.pipeline.published.made_up import Family
from tests.pipeline.published.originals import ATTENTIVE_NAS_FIRST_BLOCKS, RESNET50_EXPANDS, RESNET50_FIRST_BLOCKS

_LAYERS = {
    r"first_conv": "stem",
    r"blocks\.(\d+)\.(?:mobile_inverted_)?conv\.inverted_bottleneck": r"blocks.\1.expand",
    r"blocks\.(\d+)\.(?:mobile_inverted_)?conv\.depth_conv": r"blocks.\1.depthwise",
    r"blocks\.(\d+)\.(?:mobile_inverted_)?conv\.point_linear": r"blocks.\1.project",
    r"blocks\.(\d+)\.shortcut": r"blocks.\1.shortcut",
    r"(?:last_conv\.)?final_expand_layer": "final",
    r"(?:last_conv\.)?feature_mix_layer": "feature_mix",
    r"input_stem\.0": "stem",
    r"input_stem\.1\.conv": "blocks.0.conv",
    r"input_stem\.2": "stem_out",
    r"classifier": "classifier",
}  # fmt: skip
_RESNET_BLOCK = re.compile(r"blocks\.(\d+)\.(conv[123]|downsample)")
_TENSORS = {
    r"(?:conv\.)+weight": ".weight",
    r"conv\.([57]to[35])_matrix": r".transforms.\1",
    r"(?:bn\.)+(weight|bias|running_mean|running_var)": r"_bn.\1",
    r"(?:linear\.)+(weight|bias)": r".\1",
}
_EXCITE = re.compile(r"blocks\.(\d+)\.(?:mobile_inverted_)?conv\.depth_conv\.se\.fc\.(.*)")


def our_state(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors that ours has, by its names; linear layers are no 1×1 convolutions in ours."""
    ours = {}
    for name, tensor in published.items():
        if "bn_tracking" in name or name.endswith("num_batches_tracked"):
            continue
        key = our_name(name)
        is_linear = key.endswith(".weight") and (
            "squeeze_excite" in key or (key == "feature_mix.weight" and "feature_mix_layer.bn.weight" not in published)
        )
        ours[key] = tensor.flatten(1) if is_linear else tensor
    return ours


def our_name(name: str) -> str:
    """The name of a tensor in ours."""
    name = name.removeprefix("module.")
    if excite := _EXCITE.fullmatch(name):
        return f"blocks.{excite[1]}.squeeze_excite.{excite[2]}"
    if match := _RESNET_BLOCK.match(name):
        index, layer = int(match[1]) + 1, match[2].replace("downsample", "shortcut")
        return f"blocks.{index}.{layer}" + _tensor(name[match.end() + 1 :])
    for layer, ours in _LAYERS.items():
        if match := re.match(layer + r"\.", name):
            place, tensor = match.expand(ours), _tensor(name[match.end() :])
            return ("final_expand" if place == "final" and tensor == ".weight" else place) + tensor
    raise AssertionError(name)


def _tensor(name: str) -> str:
    for tensor, ours in _TENSORS.items():
        if match := re.fullmatch(tensor, name):
            return match.expand(ours)
    raise AssertionError(name)


def our_subnet(family: Family, resolution: int, choice: Mapping[str, Sequence[float]]) -> Subnet:
    """The subnet of what the function of `originals` for this family is given."""
    space = NETWORKS[family]
    if family == "resnet50":
        return _resnet50(space, resolution, **choice)
    if family == "attentive_nas":
        return _attentive_nas(resolution, **choice)
    blocks = [BlockChoice(int(k), e) for k, e in zip(choice["k"], choice["e"], strict=True)]
    stages = [StageChoice(None, tuple(blocks[4 * s : 4 * s + int(d)])) for s, d in enumerate(choice["d"])]
    return Subnet((), tuple(stages), (), resolution)


def _resnet50(space: Space, resolution: int, d: Sequence[int], e: Sequence[float], w: Sequence[int]) -> Subnet:
    assert all(stage.expands == RESNET50_EXPANDS for stage in space.stages)
    stages = []
    for first, base, more, width, stage in zip(
        RESNET50_FIRST_BLOCKS, (2, 2, 4, 2), d[1:], w[2:], space.stages, strict=True
    ):
        blocks = tuple(BlockChoice(3, ratio) for ratio in e[first : first + base + more])
        stages.append(StageChoice(stage.widths[width], blocks))
    first, _, last, _ = space.stem
    return Subnet((first.choices[w[0]], d[0] // 2, last.choices[w[1]]), tuple(stages), (), resolution)


def _attentive_nas(
    resolution: int, widths: Sequence[int], depths: Sequence[int], kernels: Sequence[int], expands: Sequence[int]
) -> Subnet:
    assert len(depths) == len(ATTENTIVE_NAS_FIRST_BLOCKS)
    stem, *of_stages, last = widths
    stages = [
        StageChoice(width, (BlockChoice(kernel, expand),) * depth)
        for width, depth, kernel, expand in zip(of_stages, depths, kernels, expands, strict=True)
    ]
    return Subnet((stem,), tuple(stages), (last,), resolution)
