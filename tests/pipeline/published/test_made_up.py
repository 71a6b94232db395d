"""The made-up state dicts have the layouts of the published ones."""

import math

import pytest
import torch

from tests.pipeline.published.made_up import Family, made_up_state, published_shapes

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


@pytest.mark.parametrize(
    ("family", "width", "keys", "counters", "parameters"),
    [
        ("mobilenet_v3", 1.0, 475, 64, 7_678_880),
        ("mobilenet_v3", 1.2, 475, 64, 10_701_632 + 20 * (625 + 81)),
        ("proxyless", 1.3, 446, 67, 7_956_882),
        ("resnet50", None, 368, 61, 48_105_992),
        ("attentive_nas", None, 1468, 333, 23_934_704),
    ],
)
def test_keys_and_parameters_are_as_many_as_in_the_published_files(
    family: Family, width: float | None, keys: int, counters: int, parameters: int
) -> None:
    shapes = published_shapes(family, width=width)
    assert len(shapes) == keys
    assert sum(name.endswith("num_batches_tracked") for name in shapes) == counters
    assert sum("bn_tracking" in name for name in shapes) == (666 if family == "attentive_nas" else 0)
    assert sum(math.prod(shape) for name, shape in shapes.items() if not name.endswith(STATISTICS)) == parameters


def test_shapes_of_some() -> None:
    shapes = published_shapes("proxyless")
    assert shapes["blocks.0.conv.point_linear.conv.weight"] == (24, 40, 1, 1)
    assert shapes["blocks.21.conv.inverted_bottleneck.conv.conv.weight"] == (1488, 248, 1, 1)
    assert shapes["blocks.1.conv.depth_conv.conv.conv.weight"] == (144, 1, 7, 7)
    shapes = published_shapes("resnet50")
    assert shapes["input_stem.1.conv.conv.conv.weight"] == (32, 32, 3, 3)
    assert [name for name in shapes if "downsample.conv" in name] == [
        f"blocks.{block}.downsample.conv.conv.weight" for block in (0, 4, 8, 14)
    ]
    shapes = published_shapes("attentive_nas", classes=10)
    assert shapes["module.blocks.7.mobile_inverted_conv.depth_conv.se.fc.reduce.weight"] == (48, 192, 1, 1)
    assert "module.blocks.1.mobile_inverted_conv.inverted_bottleneck.conv.conv.weight" not in shapes
    assert shapes["module.classifier.linear.linear.weight"] == (10, 1984)


def test_values_are_by_lot_and_of_the_published_types() -> None:
    once, again, other = (made_up_state("mobilenet_v3", seed, classes=10) for seed in (0, 0, 1))
    for name, tensor in once.items():
        is_counter = name.endswith("num_batches_tracked")
        assert tensor.dtype == (torch.int64 if is_counter else torch.float32)
        assert torch.equal(tensor, again[name])
        assert is_counter or not torch.equal(tensor, other[name])
