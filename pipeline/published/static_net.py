"""OFA's specialised networks: a folder with `net.config` (layers as JSON), `run.config` and the state dict in `init`.

Such a network is a space without choices, in which every block is a stage of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, TypeAdapter

from data_shards.one_line import shown
from data_shards.store.regular_file import read_regular
from pipeline.errors import UsageError
from pipeline.files.json_file import checked, parse_json
from pipeline.files.whole_file import DamagedError
from pipeline.published.recognise import Recognised
from pipeline.supernet.blocks import BLOCKS
from pipeline.supernet.dimension import MOST_SIDE
from pipeline.supernet.layer import Activation
from pipeline.supernet.part import LayerSpace, StageSpace
from pipeline.supernet.space import Space

NET, RUN_CONFIG, STATE = "net.config", "run.config", "init"
_MOST_BYTES = 1 << 22
_RESOLUTION = 224  # where there is no `run.config`

Number = Annotated[int, Field(gt=0, lt=1 << 16)]
Function = Literal["relu", "relu6", "h_swish"]
T = TypeVar("T")


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)


class _BatchNorm(_Part):
    eps: float = Field(gt=0, lt=1)


class _Conv(_Part):
    out_channels: Number
    kernel_size: Number
    stride: Number = 1
    act_func: Function


class _MBConv(_Part):
    in_channels: Number
    out_channels: Number
    kernel_size: Number
    stride: Number
    expand_ratio: float = Field(gt=0, le=64)
    mid_channels: Number | None = None
    act_func: Function
    use_se: bool = False


class _MBBlock(_Part):
    conv: _MBConv = Field(validation_alias=AliasChoices("conv", "mobile_inverted_conv"))
    shortcut: dict[str, Any] | None


class _Bottleneck(_Part):
    in_channels: Number
    out_channels: Number
    kernel_size: Number
    stride: Number
    expand_ratio: float = Field(default=0.25, gt=0, le=64)
    mid_channels: Number | None = None
    act_func: Function
    groups: Literal[1] = 1
    downsample_mode: Literal["avgpool_conv"]


class _ResidualConv(_Part):
    conv: _Conv


class _Classifier(_Part):
    out_features: Number


class _Mobile(_Part):
    """`net.config` of the networks of inverted bottlenecks."""

    name: Literal["MobileNetV3", "ProxylessNASNets"]
    bn: _BatchNorm
    first_conv: _Conv
    blocks: tuple[_MBBlock, ...] = Field(min_length=1, max_length=200, strict=False)
    final_expand_layer: _Conv | None = None
    feature_mix_layer: _Conv
    classifier: _Classifier


class _ResNet(_Part):
    """`net.config` of OFA's ResNets."""

    name: Literal["ResNets"]
    bn: _BatchNorm
    input_stem: tuple[_Conv | _ResidualConv, ...] = Field(min_length=2, max_length=3, strict=False)
    blocks: tuple[_Bottleneck, ...] = Field(min_length=1, max_length=200, strict=False)
    classifier: _Classifier


class _RunConfig(_Part):
    image_size: Annotated[int, Field(gt=0, le=MOST_SIDE)]


def static_network(folder: Path, resolution: int | None = None) -> Recognised:
    """The network that the folder's `net.config` tells of.

    Args:
        resolution: side of its images, pixels; that of `run.config` by default.

    Raises:
        UsageError: where the folder has none, or one that is not known here; naming the file and the member.
    """
    content = _read(folder / NET)
    kinds = {"MobileNetV3": _Mobile, "ProxylessNASNets": _Mobile, "ResNets": _ResNet}
    name = content.get("name") if isinstance(content, dict) else None
    if name not in kinds:
        raise UsageError(f"{folder / NET}: the network is {shown(name)}; legal: {', '.join(kinds)}")
    net = _checked(folder / NET, content, kinds[name])
    if resolution is None:
        has_config = (folder / RUN_CONFIG).exists()
        resolution = (
            _checked(folder / RUN_CONFIG, _read(folder / RUN_CONFIG), _RunConfig).image_size
            if has_config
            else _RESOLUTION
        )
    try:
        space = _mobile(net, resolution) if isinstance(net, _Mobile) else _resnet(net, resolution)
    except DamagedError as reason:
        raise UsageError(f"{folder / NET}: {reason}") from None
    return Recognised(space, f"static {name}, {space.classes} classes, {resolution} px")


def _mobile(net: _Mobile, resolution: int) -> Space:
    mix = net.feature_mix_layer
    if net.name == "MobileNetV3":
        if net.final_expand_layer is None:
            raise DamagedError("final_expand_layer: is missing")
        before = [_layer("final_expand", net.final_expand_layer, "final_bn")]
        after = [LayerSpace("feature_mix", "linear", (mix.out_channels,), activation=mix.act_func)]
    else:
        before, after = [_layer("feature_mix", mix, "feature_mix_bn")], []
    return Space(
        stem=(_layer("stem", net.first_conv, "stem_bn"),),
        stages=tuple(_mb_stages(net.blocks)),
        head=(*before, LayerSpace("pool", "pool"), *after, _classifier(net.classifier)),
        resolutions=(resolution,),
        epsilon=net.bn.eps,
    )


def _mb_stages(blocks: tuple[_MBBlock, ...]) -> Iterator[StageSpace]:
    for index, block in enumerate(blocks):
        conv, adds = block.conv, block.shortcut is not None
        if adds and (conv.stride, conv.in_channels) != (1, conv.out_channels):
            raise DamagedError(f"blocks.{index}: adds its input of another size than its output")
        expands = conv.expand_ratio != 1
        yield _stage(index, "mbconv", conv, conv.in_channels, "identity" if adds else "none", expands, conv.use_se)


def _resnet(net: _ResNet, resolution: int) -> Space:
    first, *between, last = net.input_stem
    if not isinstance(first, _Conv) or not isinstance(last, _Conv) or any(isinstance(each, _Conv) for each in between):
        raise DamagedError("input_stem: is not a convolution, a residual one where there are three, and a convolution")
    stages: list[StageSpace] = []
    for index, block in enumerate(net.blocks):
        shortcut = "identity" if (block.stride, block.in_channels) == (1, block.out_channels) else "projected"
        stages.append(_stage(index, "bottleneck", block, block.out_channels, shortcut, True, False))
    return Space(
        stem=(
            _layer("stem", first, "stem_bn"),
            *(StageSpace("residual_conv", (), (1,), (3,), (1,), 1, first.act_func) for _ in between),
            _layer("stem_out", last, "stem_out_bn"),
            LayerSpace("max_pool", "max_pool", kernel=3, stride=2),
        ),
        stages=tuple(stages),
        head=(LayerSpace("pool", "pool"), _classifier(net.classifier)),
        resolutions=(resolution,),
        epsilon=net.bn.eps,
    )


def _stage(
    index: int,
    kind: Literal["mbconv", "bottleneck"],
    conv: _MBConv | _Bottleneck,
    expanded: int,
    shortcut: Literal["none", "identity", "projected"],
    has_expand_conv: bool,
    squeeze_excite: bool,
) -> StageSpace:
    """A stage of one block, whose middle channels are `expanded` times its expand ratio."""
    middle = conv.mid_channels or round(expanded * conv.expand_ratio)
    ratio = middle / expanded
    if BLOCKS[kind].middle(conv.in_channels, conv.out_channels, ratio) != middle:
        raise DamagedError(f"blocks.{index}: has {middle} middle channels, which must be a multiple of 8")
    activation: Activation = conv.act_func
    return StageSpace(
        kind,
        (conv.out_channels,),
        (1,),
        (conv.kernel_size,),
        (int(ratio) if ratio == int(ratio) else ratio,),
        conv.stride,
        activation,
        squeeze_excite=squeeze_excite,
        shortcut=shortcut,
        has_expand_conv=has_expand_conv,
        has_transforms=False,
    )


def _layer(name: str, conv: _Conv, norm: str) -> LayerSpace:
    return LayerSpace(name, "conv", (conv.out_channels,), conv.kernel_size, conv.stride, norm, conv.act_func)


def _classifier(classifier: _Classifier) -> LayerSpace:
    return LayerSpace("classifier", "linear", (classifier.out_features,), bias=True)


def _read(path: Path) -> Any:
    try:
        return parse_json(read_regular(path, _MOST_BYTES).decode())
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: is not a text file") from None
    except DamagedError as reason:
        raise UsageError(f"{path}: {reason}") from None


def _checked(path: Path, content: Any, kind: type[T]) -> T:
    try:
        return checked(content, TypeAdapter(kind))
    except DamagedError as reason:
        raise UsageError(f"{path}: {reason}") from None
