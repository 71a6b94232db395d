"""Weights are those that were written, to the last bit, or are named with what to do."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save

from pipeline.errors import RunFailure, UsageError
from pipeline.run.layout import SPACE, WEIGHTS
from pipeline.supernet.networks.mobilenet_v3 import MOBILENETS
from pipeline.supernet.store import check_supernet, is_saved, load_supernet, save_supernet
from pipeline.supernet.supernet import Supernet

# As small as it can be; its numbers are what was written when there was no other network.
EARLIER = replace(MOBILENETS["mobilenet_v3_digits"], depths=(1,), expands=(3,), last=(16, 16))
NETWORK = EARLIER.space()
MANY = 60


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return Supernet(NETWORK).state_dict()


@pytest.fixture
def folder(tmp_path: Path, weights: dict[str, torch.Tensor]) -> Path:
    save_supernet(tmp_path, NETWORK, weights)
    return tmp_path


def refusal(folder: Path) -> str:
    with pytest.raises(RunFailure) as refused:
        load_supernet(folder)
    message = str(refused.value).replace(f"{folder}/", "")
    assert len(message) < 300
    assert message.isprintable()
    return message


def test_a_bit_that_is_flipped_anywhere_is_told(folder: Path) -> None:
    path = folder / WEIGHTS
    written = path.read_bytes()
    for at in range(0, len(written), len(written) // MANY):
        path.write_bytes(written[:at] + bytes([written[at] ^ 1 << at % 8]) + written[at + 1 :])
        assert refusal(folder).startswith("supernet.safetensors: cannot be loaded: its SHA-256 is not the one written")
        with pytest.raises(RunFailure, match="its SHA-256 is not the one written"):
            check_supernet(folder)


def test_a_cut_is_told_by_all_who_look(folder: Path) -> None:
    size = (folder / WEIGHTS).stat().st_size
    (folder / WEIGHTS).write_bytes(b"")
    for look in (load_supernet, check_supernet, is_saved):
        with pytest.raises(
            RunFailure, match=rf"supernet\.safetensors: cannot be loaded: 0 bytes of {size}; what wrote"
        ):
            look(folder)


def test_a_kill_between_the_two_files_leaves_a_run_without_weights(folder: Path) -> None:
    (folder / WEIGHTS).unlink()  # which is written last
    assert not is_saved(folder)
    check_supernet(folder)
    with pytest.raises(UsageError, match="is not there; a run writes it at its end"):
        load_supernet(folder)


def test_weights_of_an_earlier_version_tell_no_digest_and_load(folder: Path, weights: dict[str, torch.Tensor]) -> None:
    (folder / SPACE).write_text(json.dumps(asdict(EARLIER)))
    assert is_saved(folder)
    check_supernet(folder)
    loaded = load_supernet(folder)
    assert loaded.space == NETWORK
    assert all(torch.equal(tensor, weights[name]) for name, tensor in loaded.state_dict().items())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"stem.weight": None}, "lacks stem.weight"),
        ({"stem.weight": torch.zeros(2, 2)}, "stem.weight is float32 [2, 2], not float32 [16, 3, 3, 3]"),
        ({"stem.weight": torch.zeros(16, 3, 3, 3).half()}, "stem.weight is float16 [16, 3, 3, 3], not float32"),
        ({"a\x1b[2Jb": torch.zeros(1)}, r"has 'a\x1b[2Jb', which it has no place for"),
    ],
    ids=["lacking", "shape", "dtype", "more"],
)
def test_weights_of_another_network_are_named_also_where_no_digest_tells(
    folder: Path, weights: dict[str, torch.Tensor], change: dict[str, torch.Tensor | None], says: str
) -> None:
    changed = {name: tensor for name, tensor in {**weights, **change}.items() if tensor is not None}
    (folder / WEIGHTS).write_bytes(save(changed))
    (folder / SPACE).write_text(json.dumps(asdict(NETWORK)))
    assert f"it is not of the network in supernet.json: {says}" in refusal(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"classes": 10**15},
        {"depths": [10**9]},
        {"depths": []},
        {"stages": 3},
        {"stem": "many"},
        {"kernels": None},
        {"last": [0, -1]},
        {"weights": "all"},
        {"weights": {"bytes": -1}},
    ],
    ids=str,
)
def test_a_space_of_an_earlier_version_that_is_none_is_named_before_anything_is_built(
    folder: Path, change: dict
) -> None:
    (folder / SPACE).write_text(json.dumps({**asdict(EARLIER), **change}))
    assert refusal(folder).startswith("supernet.json: cannot be loaded: ")


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("stages", {"depths": [10**9]}),
        ("stages", {"depths": []}),
        ("stages", {"kernels": [1 << 19]}),
        ("stages", {"expands": None}),
        ("stages", {"expands": [-0.5]}),
        ("stages", {"block": "unheard of"}),
        ("stages", {"ties": [[2, 3]]}),
        ("stages", {"activation": "none"}),
        ("head", {"name": "blocks"}),
        ("head", {"name": "a.b"}),
        ("head", {"name": "forward"}),
        ("head", {"widths": [1 << 19], "kernel": 1 << 19}),
        ("head", {"kind": "pool", "widths": []}),
        ("stem", {"name": "classifier"}),
        ("resolutions", []),
        ("stages", []),
        ("head", []),
        ("epsilon", 0),
        ("epsilon", "small"),
    ],
    ids=str,
)
def test_a_space_that_is_none_is_named_before_anything_is_built(folder: Path, part: str, change: object) -> None:
    space = json.loads(json.dumps(asdict(NETWORK)))
    if isinstance(change, dict):
        at = 0 if part == "stem" else -1
        space[part][at] |= change
    else:
        space[part] = change
    (folder / SPACE).write_text(json.dumps(space))
    assert refusal(folder).startswith("supernet.json: cannot be loaded: ")


def test_what_holds_no_tensors_is_named(folder: Path) -> None:
    (folder / SPACE).write_text(json.dumps(asdict(NETWORK)))
    for content in (b"", bytes(1000), b"\xff" * 1000, (folder / WEIGHTS).read_bytes()[:-1]):
        (folder / WEIGHTS).write_bytes(content)
        assert refusal(folder).startswith("supernet.safetensors: cannot be loaded: ")


def test_they_stay_plain_safetensors(folder: Path, weights: dict[str, torch.Tensor]) -> None:
    assert load((folder / WEIGHTS).read_bytes()).keys() == weights.keys()
