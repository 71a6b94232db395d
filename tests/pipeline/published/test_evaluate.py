"""`deps evaluate` takes an imported supernet with a data set of its classes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from pipeline.commands.imported_data import imported_data
from pipeline.published.exporting import export_checkpoint
from pipeline.published.importing import import_checkpoint
from pipeline.supernet.complexity import complexity
from pipeline.supernet.networks import named
from pipeline.supernet.store import load_supernet, save_supernet
from pipeline.supernet.supernet import Supernet
from tests.support.command_line import deps, refused


def imported(folder: Path, network: str = "mobilenet_v3_digits", classes: int = 10) -> Path:
    torch.manual_seed(0)
    supernet = Supernet(named(network, classes=classes).space())
    save_supernet(folder, supernet.space, supernet.state_dict())
    export_checkpoint(folder, folder / "published.pth")
    import_checkpoint(folder / "published.pth", network, folder / "imported")
    return folder / "imported"


@pytest.mark.parametrize("network", ["mobilenet_v3_digits", "attentive_nas_digits"])
def test_an_imported_supernet_is_evaluated(network: str, digits: Path, tmp_path: Path) -> None:
    folder = imported(tmp_path, network)
    space = load_supernet(folder).space
    text = str(space.smallest())
    done = deps("evaluate", folder, "--data", digits, "--subnet", text, "--json")
    assert done.returncode == 0, done.stderr
    rows = {row["subnet"]: row for row in json.loads(done.stdout)}
    assert rows[text]["macs"] == complexity(space, space.smallest()).macs
    assert all(0 <= row["top1"] <= row["top5"] <= 100 for row in rows.values())
    assert ("CC BY-NC" if "attentive" in network else "MIT licence") in done.stderr


def test_imported_supernets_see_images_as_their_authors_show_them() -> None:
    def shown(network: str, convention: str = "auto") -> tuple[float, str]:
        data = imported_data(named(network).space(), Path("shards"), convention)
        return data.evaluation_crop, data.evaluation_interpolation

    assert shown("mobilenet_v3") == shown("proxyless") == shown("attentive_nas") == (0.875, "bilinear")
    assert shown("attentive_nas", "alpha_net") == (0.875, "bicubic")
    assert shown("mobilenet_v3_32px") == shown("resnet50", "none") == (1.0, "fast")


def test_what_does_not_fit_is_refused_in_one_line(digits: Path, tmp_path: Path) -> None:
    folder = imported(tmp_path, classes=7)
    line = refused(deps("evaluate", folder, "--data", digits))
    assert line.endswith("has 10 classes, " + f"{folder} tells 7 apart")
    assert "config.yaml: is not there; a supernet without a recipe needs --data SHARDS" in refused(
        deps("evaluate", folder)
    )
    line = refused(deps("evaluate", folder, "--data", digits, "--convention", "timm"))
    assert "--convention 'timm': legal values: auto, none, ofa, " in line
    assert "is no run folder" in refused(deps("evaluate", tmp_path / "nowhere"))
    line = refused(deps("evaluate", folder, "--convention", "ofa"))
    assert "--convention 'ofa': goes with --data; a run shows images as its recipe says" in line
