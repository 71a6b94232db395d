"""Static networks: imported as spaces without choices, which compute what the subnet of the elastic network does."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.published.exporting import export_checkpoint
from pipeline.published.importing import Imported, import_checkpoint
from pipeline.supernet.complexity import complexity
from pipeline.supernet.extract import extract
from pipeline.supernet.store import load_supernet
from tests.pipeline.published import functional, layouts, statics
from tests.pipeline.published.functional import Stage, h_swish, swish
from tests.support.command_line import deps, refused

CLASSES = 7
BAKED = 1e-6  # kernels that were transformed are rounded to float32 in the file


def stages(
    widths: Sequence[int], strides: str, gated: str, activations: Sequence[Any], kernels: str, expands: str
) -> list[Stage]:
    blocks = [
        list(zip(map(int, kernel), map(int, expand), strict=True))
        for kernel, expand in zip(kernels.split("."), expands.split("."), strict=True)
    ]
    return [
        Stage(width, int(stride), gate == "1", activation, each)
        for width, stride, gate, activation, each in zip(widths, strides, gated, activations, blocks, strict=True)
    ]


V3 = stages(
    [24, 40, 80, 112, 160],
    "22212",
    "01011",
    [torch.relu, torch.relu, h_swish, h_swish, h_swish],
    "35.753.7537.33.557",
    "36.463.3646.63.433",
)
# Published as v100_gpu64@9ms; and the smallest.
PROXYLESS, SMALLEST = (
    stages([32, 56, 104, 128, 248, 416], "222121", "000000", [F.relu6] * 6, kernels, expands)
    for kernels, expands in (
        ("33.53.353.337.355.3", "33.36.446.464.644.4"),
        ("33.33.33.33.33.3", "33.33.33.33.33.3"),
    )
)
RESNET = [(168, [0.2] * 2), (512, [0.35, 0.2, 0.25]), (664, [0.25] * 5), (1640, [0.2] * 2)]
SMALLEST_RESNET = [(168, [0.2] * 2), (336, [0.2] * 2), (664, [0.2] * 4), (1328, [0.2] * 2)]


def attentive_stages(widths: Sequence[int], kernels: str, expands: str, depths: str) -> list[Stage]:
    texts = (".".join(v * int(d) for v, d in zip(values, depths, strict=True)) for values in (kernels, expands))
    return stages(widths, "1222121", "0010111", [swish] * 7, *texts)


A0 = attentive_stages([16, 24, 32, 64, 112, 192, 216], "3333333", "1444466", "1333331")
ALIKE = attentive_stages([24, 24, 32, 72, 120, 216, 216], "3535355", "1456466", "1344642")


def written(folder: Path, state: Mapping[str, Tensor], config: Any, side: int | None = 64) -> Path:
    folder.mkdir()
    (folder / "net.config").write_text(json.dumps(config))
    if side:
        (folder / "run.config").write_text(json.dumps({"image_size": side, "n_epochs": 25}))
    torch.save({"state_dict": state}, folder / "init")
    return folder


def check(
    source: Path,
    tmp_path: Path,
    state: Mapping[str, Tensor],
    expected: Callable[[Tensor], Tensor],
    rounding: float = 1e-12,
    **options: Any,
) -> Imported:
    """Import, compare the logits of one network and of its plain twin, and export to the same bits."""
    found = import_checkpoint(source, "auto", tmp_path / "imported", **options)
    supernet = load_supernet(tmp_path / "imported").double()
    space = supernet.space
    assert space.largest() == space.smallest()
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with torch.no_grad():
        wanted = expected(images)
        for logits in (supernet(images, space.largest()), extract(supernet, space.largest())(images)):
            assert float((logits - wanted).abs().max() / wanted.abs().max()) < rounding
    export_checkpoint(tmp_path / "imported", tmp_path / "exported.pth")
    again = torch.load(tmp_path / "exported.pth", weights_only=True)["state_dict"]
    assert list(again) == list(state)
    assert all(torch.equal(again[name], tensor) for name, tensor in state.items())
    return found


def doubled(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.double() for name, tensor in state.items()}


@pytest.mark.parametrize("body", ["conv", "mobile_inverted_conv"])
def test_a_static_mobilenet_v3(body: str, tmp_path: Path) -> None:
    elastic = layouts.filled(layouts.mobilenet_v3(classes=CLASSES))
    state = statics.mobile(elastic, V3, 4, body)
    folder = written(tmp_path / "net", state, statics.mobile_config(elastic, "MobileNetV3", V3, 1e-5, body))
    found = check(
        folder, tmp_path, state, lambda images: functional.mobile(doubled(elastic), images, V3, 4, 1e-5), BAKED
    )
    assert found.origin.network == "static MobileNetV3, 7 classes, 64 px"


def test_a_static_proxyless_has_the_size_that_its_authors_tell(tmp_path: Path) -> None:
    elastic = layouts.filled(layouts.proxyless())
    state = statics.mobile(elastic, PROXYLESS, 4)
    folder = written(tmp_path / "net", state, statics.mobile_config(elastic, "ProxylessNASNets", PROXYLESS, 1e-3), 188)
    check(
        folder, tmp_path, state, lambda images: functional.mobile(doubled(elastic), images, PROXYLESS, 4, 1e-3), BAKED
    )
    space = load_supernet(tmp_path / "imported").space
    size = complexity(space, space.largest())
    assert (size.macs, size.parameters) == (312_808_424, 5_186_720)


@pytest.mark.parametrize("has_block", [False, True])
def test_a_static_resnet(has_block: bool, tmp_path: Path) -> None:
    elastic, stem = layouts.filled(layouts.resnet50(CLASSES)), (24, has_block, 48)
    state, config = statics.resnet(elastic, stem, RESNET)
    check(
        written(tmp_path / "net", state, config),
        tmp_path,
        state,
        lambda images: functional.resnet(doubled(elastic), images, stem, RESNET),
    )


@pytest.mark.parametrize(("net", "last"), [(A0, 1792), (ALIKE, 1984)])
def test_a_static_attentive_nas_is_known_by_its_shapes(net: list[Stage], last: int, tmp_path: Path) -> None:
    elastic = layouts.filled(layouts.attentive_nas(CLASSES))
    state = statics.attentive(elastic, 16, net, last)
    torch.save({"state_dict": state}, tmp_path / "static.pth")
    line = refused(deps("import", "static.pth", "--output", "imported", cwd=tmp_path))
    assert "does not tell its resolution: give --resolution, of 192, 224, 256, 288" in line
    found = check(
        tmp_path / "static.pth",
        tmp_path,
        state,
        lambda images: functional.attentive(doubled(elastic), images, 16, net, last, 192),
        resolution=192,
    )
    assert "not for commercial use" in found.origin.licence


def test_static_networks_have_as_many_keys_as_are_published() -> None:
    proxyless, resnet, attentive = layouts.proxyless(), layouts.resnet50(), layouts.attentive_nas()
    assert len(statics.mobile(layouts.filled(proxyless), SMALLEST, 4)) == 224
    assert len(statics.resnet(layouts.filled(resnet), (24, False, 40), SMALLEST_RESNET)[0]) == 218
    assert len(statics.attentive(layouts.filled(attentive), 16, A0, 1792)) == 372


V3_SMALL = layouts.mobilenet_v3(classes=CLASSES)
WRONG: dict[str, tuple[Callable[[Any], object], str]] = {
    "no network": (
        lambda config: config.update(name="DARTS"),
        "net.config: the network is 'DARTS'; legal: MobileNetV3",
    ),
    "no name": (lambda config: config.pop("name"), "the network is None"),
    "no blocks": (lambda config: config.pop("blocks"), "net.config: blocks: Field required"),
    "no statistics": (lambda config: config.pop("bn"), "net.config: bn: Field required"),
    "no final layer": (lambda config: config.pop("final_expand_layer"), "final_expand_layer: is missing"),
    "a text for a number": (
        lambda config: config["blocks"][3]["conv"].update(stride="2"),
        "net.config: blocks.3.*stride",
    ),
    "another activation": (
        lambda config: config["first_conv"].update(act_func="gelu"),
        "net.config: first_conv.act_func",
    ),
    "a sum of two sizes": (
        lambda config: config["blocks"][1].update(shortcut={"name": "IdentityLayer"}),
        "blocks.1: adds its input of another size",
    ),
    "an odd middle": (lambda config: config["blocks"][2]["conv"].update(mid_channels=100), "blocks.2: has 100 middle"),
    "another width": (
        lambda config: config["blocks"][2]["conv"].update(kernel_size=3),
        "init|blocks.2.conv.depth_conv.conv.weight is",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_configuration_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    change, reason = WRONG[name]
    elastic = layouts.filled(V3_SMALL)
    config = statics.mobile_config(elastic, "MobileNetV3", V3, 1e-5)
    change(config)
    written(tmp_path / "net", statics.mobile(elastic, V3, 4), config)
    line = refused(deps("import", "net", "--output", "imported", cwd=tmp_path))
    assert line.startswith("deps: net")
    assert re.search(reason, line), line
    assert not (tmp_path / "imported").exists()


@pytest.mark.parametrize(("content", "reason"), [(b"{", "not JSON"), (b"\xff", "not a text file"), (b"[]", "is None")])
def test_a_configuration_that_is_none_is_refused(content: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "net.config").write_bytes(content)
    assert reason in refused(deps("import", "net", "--output", "imported", cwd=tmp_path))


def test_another_network_than_the_folders_is_refused(tmp_path: Path) -> None:
    elastic = layouts.filled(V3_SMALL)
    config = statics.mobile_config(elastic, "MobileNetV3", V3, 1e-5)
    written(tmp_path / "net", statics.mobile(elastic, V3, 4), config)
    line = refused(deps("import", "net", "--network", "proxyless", "--output", "imported", cwd=tmp_path))
    assert "--network proxyless: is another one than the file's, which is static MobileNetV3" in line


def test_the_largest_static_network_is_the_supernet_without_matrices(tmp_path: Path) -> None:
    """OFA begins its supernets with that file, which has no configuration."""
    elastic = layouts.filled(V3_SMALL)
    largest = [stage._replace(blocks=[(7, 6)] * 4) for stage in V3]
    torch.save({"state_dict": statics.mobile(elastic, largest, 4)}, tmp_path / "ofa_D4_E6_K7")
    found = import_checkpoint(tmp_path / "ofa_D4_E6_K7", "auto", tmp_path / "imported")
    assert "without kernel matrices" in found.origin.network
    assert load_supernet(tmp_path / "imported").space.stages[0].depths == (2, 3, 4)
