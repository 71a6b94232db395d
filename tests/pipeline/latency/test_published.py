"""OFA's tables: every layer of its networks by the text that it has there."""

from pathlib import Path

import pytest
import yaml

from pipeline.errors import UsageError
from pipeline.latency.published import read_published
from pipeline.latency.reading import read_latencies
from pipeline.latency.table import latency
from pipeline.supernet.networks import NETWORKS

# The smallest subnet of OFA's MobileNetV3 at 224 px, layer by layer, written out by hand.
MOBILENET_V3 = [
    "Conv-input:224x224x3-output:112x112x16",
    "expanded_conv-input:112x112x16-output:112x112x16-expand:16-kernel:3-stride:1-idskip:1-se:0-hs:0",
    "expanded_conv-input:112x112x16-output:56x56x24-expand:48-kernel:3-stride:2-idskip:0-se:0-hs:0",
    "expanded_conv-input:56x56x24-output:56x56x24-expand:72-kernel:3-stride:1-idskip:1-se:0-hs:0",
    "expanded_conv-input:56x56x24-output:28x28x40-expand:72-kernel:3-stride:2-idskip:0-se:1-hs:0",
    "expanded_conv-input:28x28x40-output:28x28x40-expand:120-kernel:3-stride:1-idskip:1-se:1-hs:0",
    "expanded_conv-input:28x28x40-output:14x14x80-expand:120-kernel:3-stride:2-idskip:0-se:0-hs:1",
    "expanded_conv-input:14x14x80-output:14x14x80-expand:240-kernel:3-stride:1-idskip:1-se:0-hs:1",
    "expanded_conv-input:14x14x80-output:14x14x112-expand:240-kernel:3-stride:1-idskip:0-se:1-hs:1",
    "expanded_conv-input:14x14x112-output:14x14x112-expand:336-kernel:3-stride:1-idskip:1-se:1-hs:1",
    "expanded_conv-input:14x14x112-output:7x7x160-expand:336-kernel:3-stride:2-idskip:0-se:1-hs:1",
    "expanded_conv-input:7x7x160-output:7x7x160-expand:480-kernel:3-stride:1-idskip:1-se:1-hs:1",
    "Conv_1-input:7x7x160-output:7x7x960",
    "AvgPool2D-input:7x7x960-output:1x1x960",
    "Conv_2-input:1x1x960-output:1x1x1280",
    "Logits-input:1x1x1280-output:1000",
]

# The smallest of Proxyless, width 1.3, at 128 px: ratios for middle channels, and one text for all behind the mix.
PROXYLESS = [
    "Conv-input:128x128x3-output:64x64x40",
    "expanded_conv-input:64x64x40-output:64x64x24-expand:1-kernel:3-stride:1-idskip:0",
    "expanded_conv-input:64x64x24-output:32x32x32-expand:3-kernel:3-stride:2-idskip:0",
    "expanded_conv-input:32x32x32-output:32x32x32-expand:3-kernel:3-stride:1-idskip:1",
    "expanded_conv-input:32x32x32-output:16x16x56-expand:3-kernel:3-stride:2-idskip:0",
    "expanded_conv-input:16x16x56-output:16x16x56-expand:3-kernel:3-stride:1-idskip:1",
    "expanded_conv-input:16x16x56-output:8x8x104-expand:3-kernel:3-stride:2-idskip:0",
    "expanded_conv-input:8x8x104-output:8x8x104-expand:3-kernel:3-stride:1-idskip:1",
    "expanded_conv-input:8x8x104-output:8x8x128-expand:3-kernel:3-stride:1-idskip:0",
    "expanded_conv-input:8x8x128-output:8x8x128-expand:3-kernel:3-stride:1-idskip:1",
    "expanded_conv-input:8x8x128-output:4x4x248-expand:3-kernel:3-stride:2-idskip:0",
    "expanded_conv-input:4x4x248-output:4x4x248-expand:3-kernel:3-stride:1-idskip:1",
    "expanded_conv-input:4x4x248-output:4x4x416-expand:3-kernel:3-stride:1-idskip:0",
    "Conv_1-input:4x4x416-output:4x4x1664",
    "Logits-input:4x4x1664-output:1000",
]


def written(path: Path, texts: list[str]) -> Path:
    """A table in which the i-th text takes 2^i ms: a sum tells which ones are in it."""
    path.write_text(yaml.safe_dump({text: {"count": 5, "mean": float(2**index)} for index, text in enumerate(texts)}))
    return path


@pytest.mark.parametrize(
    ("network", "texts", "resolution"), [("mobilenet_v3", MOBILENET_V3, 224), ("proxyless", PROXYLESS, 128)]
)
def test_a_subnet_is_the_sum_of_its_texts(network: str, texts: list[str], resolution: int, tmp_path: Path) -> None:
    space = NETWORKS[network]
    latencies, told = read_latencies(written(tmp_path / "table.yaml", texts))
    assert told is None
    subnet = space.parse(f"d2-k3-e3-r{resolution}")
    assert latency(latencies, space, subnet) == pytest.approx((2 ** len(texts) - 1) / 1000)
    with pytest.raises(UsageError, match=r"has no 'expanded_conv-input:\S+': it is of another resolution or another"):
        latency(latencies, space, space.parse(f"d2-k5-e3-r{resolution}"))


def test_a_table_of_published_size_is_read(tmp_path: Path) -> None:
    texts = [f"expanded_conv-input:7x7x{index}-output:7x7x160-expand:3-kernel:3-stride:1-idskip:0" for index in range(3000)]  # fmt: skip  # noqa: E501
    path = tmp_path / "table.yaml"
    path.write_text(yaml.safe_dump({text: {"mean": 1.0} for text in texts}))
    assert len(read_published(path).milliseconds) == 3000


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1, 2]", "is no latency table of OFA's: Input should be a valid dictionary"),
        ("a: {mean: -1}", r"is no latency table of OFA's: a\.mean"),
        ("a: {other: 1}", r"is no latency table of OFA's: a\.mean: Field required"),
        ("a: [", "is not YAML"),
    ],
)
def test_what_is_no_table_is_told_in_a_line(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "table.yml"
    path.write_text(content)
    with pytest.raises(UsageError, match=message):
        read_latencies(path)
