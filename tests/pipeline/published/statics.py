"""Static networks as they are published, cut out of an elastic network's published state dict; and their `net.config`.

Layers have a single wrap, blocks are numbered one after the other, kernels are as they are convolved with.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from tests.pipeline.published.functional import Stage, State, kernels_of
from tests.pipeline.published.layouts import r8

_NORM = ("weight", "bias", "running_mean", "running_var")


class Cut:
    """The static state dict, made layer by layer: `found` under new names, out of `state` under its own."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.found: dict[str, Tensor] = {}

    def conv(self, new: str, old: str, outputs: int, inputs: int) -> None:
        self.found[f"{new}.weight"] = self.state[f"{old}.weight"][:outputs, :inputs].clone()

    def norm(self, new: str, old: str, channels: int) -> None:
        for part in _NORM:
            self.found[f"{new}.{part}"] = self.state[f"{old}.{part}"][:channels].clone()
        self.found[f"{new}.num_batches_tracked"] = self.state[f"{old}.num_batches_tracked"]

    def whole(self, new: str, old: str) -> None:
        for name, tensor in self.state.items():
            if name.startswith(f"{old}."):
                self.found[new + name.removeprefix(old)] = tensor

    def linear(self, new: str, old: str, inputs: int) -> None:
        self.found[f"{new}.weight"] = self.state[f"{old}.weight"][:, :inputs].clone()
        self.found[f"{new}.bias"] = self.state[f"{old}.bias"]

    def inverted(self, new: str, old: str, inputs: int, stage: Stage, block: tuple[int, float]) -> None:
        kernel, expand = block
        middle = r8(round(inputs * expand))
        if expand != 1:
            self.conv(f"{new}.inverted_bottleneck.conv", f"{old}.inverted_bottleneck.conv.conv", middle, inputs)
            self.norm(f"{new}.inverted_bottleneck.bn", f"{old}.inverted_bottleneck.bn.bn", middle)
        convolved = kernels_of(self.state, f"{old}.depth_conv.conv.conv", middle, kernel)
        self.found[f"{new}.depth_conv.conv.weight"] = convolved.clone()
        self.norm(f"{new}.depth_conv.bn", f"{old}.depth_conv.bn.bn", middle)
        if stage.gated:
            reduced, gate = r8(middle // 4), f"{old}.depth_conv.se.fc"
            for layer, outputs, read in (("reduce", reduced, middle), ("expand", middle, reduced)):
                name = f"{new}.depth_conv.se.fc.{layer}"
                self.conv(name, f"{gate}.{layer}", outputs, read)
                self.found[f"{name}.bias"] = self.state[f"{gate}.{layer}.bias"][:outputs].clone()
        self.conv(f"{new}.point_linear.conv", f"{old}.point_linear.conv.conv", stage.width, middle)
        self.norm(f"{new}.point_linear.bn", f"{old}.point_linear.bn.bn", stage.width)


def mobile(state: State, stages: Sequence[Stage], depth: int, body: str = "conv") -> dict[str, Tensor]:
    """OFA's MobileNetV3 and Proxyless; `body` as `layouts.mobilenet_v3` has it, of the static names."""
    cut, number, inputs = Cut(state), 0, len(state["blocks.0.conv.point_linear.conv.weight"])
    cut.whole("first_conv", "first_conv")
    cut.whole(f"blocks.0.{body}", "blocks.0.conv")
    for place, stage in enumerate(stages):
        for position, block in enumerate(stage.blocks):
            number += 1
            old = f"blocks.{1 + place * depth + position}.conv"
            cut.inverted(f"blocks.{number}.{body}", old, inputs, stage, block)
            inputs = stage.width
    for name in ("final_expand_layer", "feature_mix_layer", "classifier"):
        cut.whole(name, name)
    return cut.found


def mobile_config(state: State, name: str, stages: Sequence[Stage], epsilon: float, body: str = "conv") -> Any:
    """`net.config` of the same, with middle channels given where a block's number is odd."""
    is_v3, functions = name == "MobileNetV3", {"relu": "relu", "relu6": "relu6", "h_swish": "h_swish"}
    stem, inputs = (len(state[f"{at}.weight"]) for at in ("first_conv.conv", "blocks.0.conv.point_linear.conv"))
    usual = "relu" if is_v3 else "relu6"

    def block(outputs: int, stride: int, kernel: int, expand: float, function: str, gated: bool, adds: bool) -> Any:
        middle = r8(round(read * expand)) if len(blocks) % 2 else None
        conv = {
            "name": "MBConvLayer",
            "in_channels": read,
            "out_channels": outputs,
            "kernel_size": kernel,
            "stride": stride,
            "expand_ratio": expand,
            "mid_channels": middle,
            "act_func": function,
            "use_se": gated,
            "groups": None,
        }
        shortcut = {"name": "IdentityLayer", "in_channels": [read], "out_channels": [outputs]} if adds else None
        return {"name": "ResidualBlock", body: conv, "shortcut": shortcut}

    blocks: list[Any] = []
    read = stem
    blocks.append(block(inputs, 1, 3, 1, usual, False, is_v3))
    read = inputs
    for stage in stages:
        function = functions.get(stage.activation.__name__, "relu")
        for position, (kernel, expand) in enumerate(stage.blocks):
            stride = stage.stride if position == 0 else 1
            adds = stride == 1 and read == stage.width
            blocks.append(block(stage.width, stride, kernel, expand, function, stage.gated, adds))
            read = stage.width

    def layer(at: str, function: str, **more: Any) -> Any:
        weight = state[f"{at}.conv.weight"]
        conv = {"name": "ConvLayer", "kernel_size": weight.shape[-1], "stride": 1, "in_channels": weight.shape[1]}
        return {**conv, "out_channels": len(weight), "act_func": function, **more}

    head = "h_swish" if is_v3 else "relu6"
    final = {"final_expand_layer": layer("final_expand_layer", head)} if is_v3 else {}
    classes, features = state["classifier.linear.weight"].shape
    return {
        "name": name,
        "bn": {"momentum": 0.1, "eps": epsilon, "ws_eps": None},
        "first_conv": layer("first_conv", head, stride=2),
        "blocks": blocks,
        **final,
        "feature_mix_layer": layer("feature_mix_layer", head),
        "classifier": {"name": "LinearLayer", "in_features": features, "out_features": classes, "bias": True},
    }


def resnet(
    state: State, stem: tuple[int, bool, int], stages: Sequence[tuple[int, Sequence[float]]]
) -> tuple[dict[str, Tensor], Any]:
    """OFA's ResNet50D, and its `net.config`."""
    cut, (middle, has_block, width) = Cut(state), stem

    def layer(new: str, old: str, outputs: int, inputs: int) -> None:
        cut.conv(f"{new}.conv", f"{old}.conv.conv", outputs, inputs)
        cut.norm(f"{new}.bn", f"{old}.bn.bn", outputs)

    def conv(outputs: int, inputs: int, stride: int) -> Any:
        channels = {"in_channels": inputs, "out_channels": outputs}
        return {"name": "ConvLayer", "kernel_size": 3, "stride": stride, **channels, "act_func": "relu"}

    layer("input_stem.0", "input_stem.0", middle, 3)
    configs = [conv(middle, 3, 2)]
    if has_block:
        layer("input_stem.1.conv", "input_stem.1.conv", middle, middle)
        shortcut = {"name": "IdentityLayer", "in_channels": middle, "out_channels": middle}
        configs.append({"name": "ResidualBlock", "conv": conv(middle, middle, 1), "shortcut": shortcut})
    layer(f"input_stem.{1 + has_block}", "input_stem.2", width, middle)
    configs.append(conv(width, middle, 1))
    inputs, number, blocks = width, 0, []
    for first, stride, (outputs, ratios) in zip((0, 4, 8, 14), (1, 2, 2, 2), stages, strict=True):
        for position, ratio in enumerate(ratios):
            new, old, inner = f"blocks.{number}", f"blocks.{first + position}", r8(round(outputs * ratio))
            layer(f"{new}.conv1", f"{old}.conv1", inner, inputs)
            layer(f"{new}.conv2", f"{old}.conv2", inner, inner)
            layer(f"{new}.conv3", f"{old}.conv3", outputs, inner)
            if position == 0:
                layer(f"{new}.downsample", f"{old}.downsample", outputs, inputs)
            blocks.append(
                {
                    "name": "ResNetBottleneckBlock",
                    "in_channels": inputs,
                    "out_channels": outputs,
                    "kernel_size": 3,
                    "stride": stride if position == 0 else 1,
                    "expand_ratio": ratio,
                    "mid_channels": inner if number % 2 else None,
                    "act_func": "relu",
                    "groups": 1,
                    "downsample_mode": "avgpool_conv",
                }
            )
            inputs, number = outputs, number + 1
    cut.linear("classifier.linear", "classifier.linear.linear", inputs)
    classes = len(state["classifier.linear.linear.weight"])
    config = {
        "name": "ResNets",
        "bn": {"momentum": 0.1, "eps": 1e-5, "ws_eps": None},
        "input_stem": configs,
        "blocks": blocks,
        "classifier": {"name": "LinearLayer", "in_features": inputs, "out_features": classes, "bias": True},
    }
    # A middle that follows from the ratio is rounded there.
    for each in blocks:
        if each["mid_channels"] is None and round(each["out_channels"] * each["expand_ratio"]) % 8:
            each["mid_channels"] = r8(round(each["out_channels"] * each["expand_ratio"]))
    return cut.found, config


def attentive(state: State, stem: int, stages: Sequence[Stage], last: int) -> dict[str, Tensor]:
    """AttentiveNAS's, which has no configuration."""
    cut = Cut({name.removeprefix("module."): tensor for name, tensor in state.items()})
    cut.conv("first_conv.conv", "first_conv.conv.conv", stem, 3)
    cut.norm("first_conv.bn", "first_conv.bn.bn", stem)
    first, number, inputs = 0, 0, stem
    for most, stage in zip((2, 5, 6, 6, 8, 8, 2), stages, strict=True):
        for position, block in enumerate(stage.blocks):
            old = f"blocks.{first + position}"
            new = f"blocks.{number}"
            cut.inverted(f"{new}.mobile_inverted_conv", f"{old}.mobile_inverted_conv", inputs, stage, block)
            cut.conv(f"{new}.shortcut.conv", f"{old}.shortcut.conv.conv", stage.width, inputs)
            inputs, number = stage.width, number + 1
        first += most
    cut.conv("last_conv.0.conv", "last_conv.final_expand_layer.conv.conv", 6 * inputs, inputs)
    cut.norm("last_conv.0.bn", "last_conv.final_expand_layer.bn.bn", 6 * inputs)
    cut.conv("last_conv.2.conv", "last_conv.feature_mix_layer.conv.conv", last, 6 * inputs)
    cut.linear("classifier.linear", "classifier.linear.linear", last)
    return cut.found
