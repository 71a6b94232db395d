"""Published state dicts, imported and exported: the same names in the same order, and the same bits."""

from __future__ import annotations

import json
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.published.exporting import export_checkpoint
from pipeline.published.importing import Imported, import_checkpoint
from pipeline.run.layout import BESIDES, SPACE, WEIGHTS
from pipeline.supernet.networks import NETWORKS, named
from pipeline.supernet.store import load_supernet, origin_of, save_supernet
from pipeline.supernet.supernet import Supernet
from tests.pipeline.published import layouts
from tests.support.command_line import deps, refused

# Keys, counters among them, parameters, and what was recognised.
PUBLISHED = {
    "MobileNetV3 w1.0": (layouts.mobilenet_v3(), 475, 7_678_880, "mobilenet_v3, width 1, 1000 classes"),
    "MobileNetV3 w1.2": (layouts.mobilenet_v3(1.2), 475, 10_715_752, "mobilenet_v3, width 1.2, 1000 classes"),
    "Proxyless w1.3": (layouts.proxyless(), 446, 7_956_882, "proxyless, width 1.3, 1000 classes"),
    "ResNet50D": (layouts.resnet50(), 368, 48_105_992, "resnet50, 1000 classes"),
    "AttentiveNAS": (layouts.attentive_nas(), 1468, 23_934_704, "attentive_nas, 1000 classes"),
}
SMALL = layouts.mobilenet_v3(0.25, classes=5)


def imported(content: Any, folder: Path, zipped: bool = True, **options: Any) -> Imported:
    torch.save(content, folder / "published.pth", _use_new_zipfile_serialization=zipped)
    return import_checkpoint(folder / "published.pth", options.pop("network", "auto"), folder / "imported", **options)


def exported(folder: Path) -> Mapping[str, Tensor]:
    export_checkpoint(folder / "imported", folder / "exported.pth")
    content = torch.load(folder / "exported.pth", weights_only=True)
    assert list(content) == ["state_dict"]
    return content["state_dict"]


def assert_same(found: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
    assert list(found) == list(state)
    for name, tensor in state.items():
        assert found[name].dtype == tensor.dtype, name
        assert torch.equal(found[name], tensor), name


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_supernet_comes_back_to_the_last_bit(name: str, tmp_path: Path) -> None:
    keys, count, parameters, words = PUBLISHED[name]
    assert (len(keys), layouts.weights(keys)) == (count, parameters)
    state = layouts.filled(keys)
    found = imported({"state_dict": state}, tmp_path)
    assert (found.origin.network, found.keys) == (words, count)
    supernet = load_supernet(tmp_path / "imported")
    assert sum(parameter.numel() for parameter in supernet.parameters()) == parameters
    assert_same(exported(tmp_path), state)


@pytest.mark.parametrize("network", [name for name in NETWORKS if not name.endswith("_32px")])  # of the same tensors
def test_a_supernet_of_ours_goes_out_and_comes_in_again(network: str, tmp_path: Path) -> None:
    supernet = Supernet(NETWORKS[network])
    save_supernet(tmp_path, supernet.space, supernet.state_dict())
    export_checkpoint(tmp_path, tmp_path / "ours.pth")
    import_checkpoint(tmp_path / "ours.pth", network, tmp_path / "again")
    again = load_supernet(tmp_path / "again")
    assert again.space == supernet.space
    assert_same(again.state_dict(), supernet.state_dict())


@contextmanager
def settings_classes() -> Iterator[dict[str, Any]]:
    """What AttentiveNAS's programs put into their checkpoints: dictionaries of classes of their own, nested."""
    package, module = ModuleType("utils"), ModuleType("utils.config")
    for name in ("Config", "AttrDict"):
        kind = type(name, (dict,), {"__module__": "utils.config"})
        setattr(module, name, kind)
    sys.modules |= {"utils": package, "utils.config": module}
    try:
        yield {"args": module.Config(seed=3, optimizer=module.AttrDict(momentum=0.9, method="sgd"))}
    finally:
        del sys.modules["utils"], sys.modules["utils.config"]


@pytest.mark.parametrize("zipped", [True, False])
def test_settings_in_classes_of_others_are_passed_over(zipped: bool, tmp_path: Path) -> None:
    state = layouts.filled(SMALL)
    with settings_classes() as args:
        torch.save(
            {"epoch": 360, **args, "state_dict": state}, tmp_path / "file", _use_new_zipfile_serialization=zipped
        )
    assert "utils" not in sys.modules
    found = import_checkpoint(tmp_path / "file", "auto", tmp_path / "imported")
    assert found.ignored == ("64 × num_batches_tracked", "epoch", "args")
    assert_same(exported(tmp_path), state)


def test_a_training_checkpoint_is_read_with_all_that_it_has_besides(tmp_path: Path) -> None:
    state, average = layouts.filled(SMALL), layouts.filled(SMALL, seed=1)
    content = {
        "epoch": 120,
        "best_acc": np.float64(75.5),
        "optimizer": {"state": {0: {"momentum_buffer": torch.zeros(3)}}, "param_groups": [{"lr": 0.1}]},
        "state_dict": state,
        "state_dict_ema": average,
    }
    found = imported(content, tmp_path)
    assert found.ignored == ("64 × num_batches_tracked", "epoch", "best_acc", "optimizer", "state_dict_ema")
    assert_same(exported(tmp_path), state)
    (tmp_path / "of the average").mkdir()
    imported(content, tmp_path / "of the average", ema=True)
    assert_same(exported(tmp_path / "of the average"), average)


def older(name: str) -> str:
    return name.replace(".conv.", ".mobile_inverted_conv.", 1) if name.startswith("blocks.") else name


def single(name: str) -> str:
    for part in ("conv", "bn"):
        name = name.replace(f".{part}.{part}.", f".{part}.") if not name.startswith("blocks.0.") else name
    return name


SPELLINGS: dict[str, Callable[[str], str]] = {
    "older names": older,
    "of several processes": lambda name: f"module.{name}",
    "both": lambda name: f"module.{older(name)}",
    "single wraps": single,
    "older names in single wraps": lambda name: older(single(name)),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_all_spellings_are_the_same_network_and_come_back_as_they_were(spelling: str, tmp_path: Path) -> None:
    state = layouts.filled(SMALL)
    spelled = OrderedDict((SPELLINGS[spelling](name), tensor) for name, tensor in state.items())
    assert list(spelled) != list(state)
    assert len(spelled) == len(state)
    imported(spelled, tmp_path)  # the state alone, in no member
    weights = load_supernet(tmp_path / "imported").state_dict()
    assert_same(exported(tmp_path), spelled)
    (tmp_path / "usual").mkdir()
    imported({"state_dict": state}, tmp_path / "usual")
    assert_same(load_supernet(tmp_path / "usual" / "imported").state_dict(), weights)


def test_counters_may_be_missing(tmp_path: Path) -> None:
    state = layouts.filled([(name, shape) for name, shape in SMALL if not name.endswith("num_batches_tracked")])
    assert imported({"state_dict": state}, tmp_path).ignored == ()
    assert_same(exported(tmp_path), state)


def test_without_kernel_matrices_it_is_a_network_without_and_says_so(tmp_path: Path) -> None:
    state = layouts.filled(layouts.mobilenet_v3(0.25, classes=5, matrices=False, body="mobile_inverted_conv"))
    assert "without kernel matrices" in imported({"state_dict": state}, tmp_path).origin.network
    supernet = load_supernet(tmp_path / "imported")
    assert not any("transforms" in name for name in supernet.state_dict())
    assert supernet.space.stages[0].kernels == (3, 5, 7)
    assert_same(exported(tmp_path), state)


def test_smaller_kernels_are_recognised(tmp_path: Path) -> None:
    state = layouts.filled(layouts.mobilenet_v3(0.25, classes=5, kernel=5))
    imported({"state_dict": state}, tmp_path)
    assert load_supernet(tmp_path / "imported").space.stages[0].kernels == (3, 5)
    assert_same(exported(tmp_path), state)


def test_a_variant_for_small_images_is_taken_by_its_name(tmp_path: Path) -> None:
    state = layouts.filled(layouts.mobilenet_v3(classes=10))
    imported({"state_dict": state}, tmp_path, network="mobilenet_v3_32px")
    assert load_supernet(tmp_path / "imported").space == named("mobilenet_v3_32px", width=1.0).space()


def test_the_epsilon_that_no_file_tells_may_be_given(tmp_path: Path) -> None:
    """The DεpS authors' Proxyless has another one than OFA's."""
    torch.save({"state_dict": layouts.filled(layouts.proxyless(0.25, classes=5))}, tmp_path / "file.pth")
    for name, options, epsilon in (("ofa", [], 1e-3), ("deps", ["--epsilon", "1e-5"], 1e-5)):
        assert deps("import", "file.pth", "--output", name, *options, cwd=tmp_path).returncode == 0
        assert load_supernet(tmp_path / name).space.epsilon == epsilon


def test_parts_of_one_tensor_are_written_apart(tmp_path: Path) -> None:
    state = layouts.filled(SMALL)
    name, other = "blocks.1.conv.point_linear.bn.bn.weight", "blocks.2.conv.point_linear.bn.bn.weight"
    state[other] = state[name][:]
    imported({"state_dict": state}, tmp_path)
    assert_same(exported(tmp_path), state)


def test_the_licence_goes_with_the_weights(tmp_path: Path) -> None:
    state = layouts.filled(layouts.attentive_nas(7))
    torch.save({"state_dict": state}, tmp_path / "alphanet.pth.tar")
    done = deps("import", "alphanet.pth.tar", "--output", "imported", cwd=tmp_path)
    assert "not for commercial use" in done.stdout
    assert "666 × bn_tracking, 111 × num_batches_tracked" in done.stdout
    written = json.loads((tmp_path / "imported" / SPACE).read_text())["origin"]
    assert "not for commercial use" in written["licence"]
    assert written["file"] == "alphanet.pth.tar"
    origin = origin_of(tmp_path / "imported")
    assert origin is not None
    assert origin.licence == written["licence"]
    assert "not for commercial use" in deps("export-checkpoint", "imported", "--output", "out.pth", cwd=tmp_path).stdout


def test_what_was_imported_is_told_as_json(tmp_path: Path) -> None:
    torch.save({"state_dict": layouts.filled(SMALL), "epoch": 1}, tmp_path / "file.pth")
    told = json.loads(deps("import", "file.pth", "--output", "imported", "--json", cwd=tmp_path).stdout)
    assert told["classes"] == 5
    assert told["ignored"] == ["64 × num_batches_tracked", "epoch"]
    assert sorted(path.name for path in (tmp_path / "imported").iterdir()) == sorted([BESIDES, SPACE, WEIGHTS])


def test_exporting_overwrites_nothing(tmp_path: Path) -> None:
    supernet = Supernet(NETWORKS["mobilenet_v3_digits"])
    save_supernet(tmp_path, supernet.space, supernet.state_dict())
    (tmp_path / "there").write_text("mine")
    assert "exists already" in refused(deps("export-checkpoint", ".", "--output", "there", cwd=tmp_path))
    assert (tmp_path / "there").read_text() == "mine"
    assert "cannot be written" in refused(deps("export-checkpoint", ".", "--output", "no/such/file", cwd=tmp_path))
    assert "is not there" in refused(deps("export-checkpoint", "nowhere", "--output", "out", cwd=tmp_path))


@pytest.mark.parametrize("change", [lambda path: path.unlink(), lambda path: path.write_bytes(b"0" * 99)])
def test_exporting_tells_what_is_damaged(change: Callable[[Path], object], tmp_path: Path) -> None:
    imported({"state_dict": layouts.filled(SMALL)}, tmp_path)
    change(tmp_path / "imported" / BESIDES)
    line = refused(deps("export-checkpoint", "imported", "--output", "out", cwd=tmp_path), code=1)
    assert "import the checkpoint again" in line
    assert not (tmp_path / "out").exists()
