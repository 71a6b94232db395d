"""What `layers` says a network consists of: by hand for one subnet, and against the supernet's own state for all."""

import re

import pytest
import torch

from pipeline.supernet.extract import plain_network
from pipeline.supernet.layer import Layer
from pipeline.supernet.layers import ElasticBatchNorm
from pipeline.supernet.networks import NETWORKS
from pipeline.supernet.shapes import layers, parts
from pipeline.supernet.space import Space
from pipeline.supernet.supernet import Supernet
from tests.pipeline.supernet.spaces import OPEN, TOY

DIGITS = NETWORKS["mobilenet_v3_digits"]
SPACES = {**NETWORKS, "toy": TOY, "open": OPEN}


def test_the_layers_of_one_subnet_are_those_counted_by_hand() -> None:
    """32 px: stem 16, the fixed block, one block to 24 channels with ratio 3, two to 40 with ratios 4 and 6."""

    def conv(name: str, *shape: int, activation: str = "identity", kind: str = "conv", norm: str = "") -> Layer:
        inputs, outputs, kernel, stride, side = shape
        return Layer(name, kind, inputs, outputs, kernel, stride, side, norm or f"{name}_bn", activation)

    def gate(block: int, middle: int, reduced: int) -> list[Layer]:
        name = f"blocks.{block}.squeeze_excite"
        return [
            Layer(f"{name}.reduce", "linear", middle, reduced, activation="relu", bias=True),
            Layer(f"{name}.expand", "linear", reduced, middle, activation="h_sigmoid", bias=True),
        ]

    expected = [
        conv("stem", 3, 16, 3, 2, 16, activation="h_swish"),
        conv("blocks.0.depthwise", 16, 16, 3, 1, 16, activation="relu", kind="depthwise"),
        conv("blocks.0.project", 16, 16, 1, 1, 16),
        conv("blocks.1.expand", 16, 48, 1, 1, 16, activation="relu"),
        conv("blocks.1.depthwise", 48, 48, 5, 2, 8, activation="relu", kind="depthwise"),
        *gate(1, 48, 16),
        conv("blocks.1.project", 48, 24, 1, 1, 8),
        # Stages have two blocks at most: the second one's first block is the fourth, 0 being the fixed one.
        conv("blocks.3.expand", 24, 96, 1, 1, 8, activation="h_swish"),
        conv("blocks.3.depthwise", 96, 96, 3, 2, 4, activation="h_swish", kind="depthwise"),
        *gate(3, 96, 24),
        conv("blocks.3.project", 96, 40, 1, 1, 4),
        conv("blocks.4.expand", 40, 240, 1, 1, 4, activation="h_swish"),
        conv("blocks.4.depthwise", 240, 240, 5, 1, 4, activation="h_swish", kind="depthwise"),
        *gate(4, 240, 64),
        conv("blocks.4.project", 240, 40, 1, 1, 4),
        conv("final_expand", 40, 160, 1, 1, 4, activation="h_swish", norm="final_bn"),
        Layer("pool", "pool", 160, 160),
        Layer("feature_mix", "linear", 160, 192, activation="h_swish"),
        Layer("classifier", "linear", 192, 10, bias=True),
    ]
    assert list(layers(DIGITS, DIGITS.parse("d1.2-k5.35-e3.46-r32"))) == expected


def test_only_blocks_that_keep_size_and_channels_have_a_shortcut() -> None:
    stem, stages, _ = parts(DIGITS, DIGITS.largest())
    assert [shape.shortcut for shape in (stem[1], *stages)] == ["identity", "none", "identity", "none", "identity"]
    _, stages, _ = parts(TOY, TOY.largest())
    assert [shape.shortcut for shape in stages] == ["identity", "identity", "projected", "identity"]


@pytest.mark.parametrize("name", SPACES)
def test_names_and_shapes_pair_exactly_with_the_states_of_supernet_and_plain_network(name: str) -> None:
    space = SPACES[name]
    generator = torch.Generator().manual_seed(1)
    for subnet in (space.largest(), space.smallest(), space.sample(generator), space.sample(generator)):
        shapes = state_shapes(space, subnet)
        plain = plain_network(space, subnet).state_dict()
        assert {key: tuple(each.shape) for key, each in plain.items() if "num_batches" not in key} == shapes
    state = {key: tuple(each.shape) for key, each in Supernet(space).state_dict().items() if "transforms" not in key}
    largest = state_shapes(space, space.largest())
    # Where the input is as wide as the output in all subnets, a projected shortcut's weight is there and never runs.
    assert {key: state[key] for key in largest} == largest
    idle = state.keys() - largest.keys()
    assert all(re.fullmatch(r"blocks\.\d+\.shortcut\.weight", key) for key in idle)
    assert bool(idle) == (any(stage.block == "mbconv" and stage.shortcut == "projected" for stage in space.stages))


def state_shapes(space: Space, subnet) -> dict[str, tuple[int, ...]]:
    """Shape of each tensor of a network that has these layers."""
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in layers(space, subnet):
        if not layer.has_weights:
            continue
        inputs = 1 if layer.kind == "depthwise" else layer.inputs
        pixels = () if layer.kind == "linear" else (layer.kernel, layer.kernel)
        shapes[f"{layer.name}.weight"] = (layer.outputs, inputs, *pixels)
        if layer.bias:
            shapes[f"{layer.name}.bias"] = (layer.outputs,)
        if layer.norm:
            shapes |= {f"{layer.norm}.{part}": (layer.outputs,) for part in ElasticBatchNorm.STATE}
    return shapes
