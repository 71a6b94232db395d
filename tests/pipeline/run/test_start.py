"""A run that begins with the weights of a supernet on disk: loaded once, checked, told of, and theirs by licence."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from pipeline.run.description import read_description
from pipeline.run.layout import CHECKPOINTS, SPACE, WEIGHTS
from pipeline.supernet.networks import named
from pipeline.supernet.origin import Origin
from pipeline.supernet.space import Space
from pipeline.supernet.store import digest_of, load_supernet, origin_of, save_supernet
from pipeline.supernet.supernet import Supernet
from tests.support.command_line import Done, deps, refused
from tests.support.processes import run, small_run

ORIGIN = Origin(network="a network", licence="not for sale", file="weights.pth", sha256="0" * 64)
SPACE_OF_RUN = named("mobilenet_v3_digits", classes=10).space()


def saved(folder: Path, space: Space = SPACE_OF_RUN, seed: int = 1) -> Path:
    """A supernet of random weights and statistics."""
    torch.manual_seed(seed)
    supernet = Supernet(space)
    for name, buffer in supernet.named_buffers():
        buffer.copy_(torch.rand_like(buffer) + ("var" in name))
    folder.mkdir()
    save_supernet(folder, space, supernet.state_dict(), ORIGIN)
    return folder


def arguments(digits: Path, runs: Path, start: Path, *more: str) -> list[str]:
    """Of a run of eight steps."""
    return [
        *small_run(digits, runs),
        "engine={name: single}",
        "schedule.duration=8 steps",
        "schedule.full_model_warmup=4 steps",
        "schedule.epsilon_ramp=2 steps",
        f"model={{dropout: 0.1, start: {start}}}",
        "name=run",
        *more,
    ]


STILL = ["schedule.learning_rate={base: 1.0e-12}", "schedule.reorganise=false"]


def trained(digits: Path, runs: Path, start: Path, *more: str) -> Done:
    return deps("train", *arguments(digits, runs, start, *more))


def parameters(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in weights.items() if "running" not in name}


def assert_near(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=1e-6, msg=name)


@pytest.fixture(scope="module")
def whole(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `start`, and the run in `runs/run` that began with it."""
    folder = tmp_path_factory.mktemp("whole")
    done = trained(digits, folder / "runs", saved(folder / "start"))
    assert done.returncode == 0, done.stderr
    assert "not for sale" in done.stderr
    return folder


def test_what_hardly_learns_keeps_the_weights_that_it_began_with(digits: Path, tmp_path: Path) -> None:
    start = saved(tmp_path / "start")
    assert trained(digits, tmp_path, start, *STILL).returncode == 0
    found = load_file(tmp_path / "run" / WEIGHTS)
    assert_near(parameters(found), parameters(load_file(start / WEIGHTS)))


@pytest.mark.distributed
@pytest.mark.parametrize("engine", ["{name: ddp}", "{name: fsdp}", "{name: deepspeed, zero_stage: 3}"])
def test_all_engines_load_them(engine: str, digits: Path, tmp_path: Path) -> None:
    start = saved(tmp_path / "start")
    command = ["-m", "pipeline.train", *arguments(digits, tmp_path, start, *STILL, f"engine={engine}")]
    run(command, world=2)
    found = load_file(tmp_path / "run" / WEIGHTS)
    assert_near(parameters(found), parameters(load_file(start / WEIGHTS)))


def test_the_run_tells_of_the_weights_and_keeps_their_licence(whole: Path, tmp_path: Path) -> None:
    start = read_description(whole / "runs" / "run").start
    assert start is not None
    assert start.sha256 == digest_of(whole / "start")
    assert origin_of(whole / "runs" / "run") == ORIGIN
    done = deps("weights", whole / "runs" / "run", "--output", tmp_path / "weights")
    assert "not for sale" in done.stdout
    assert origin_of(tmp_path / "weights") == ORIGIN
    assert "not for sale" in deps("evaluate", whole / "runs" / "run", "--json").stderr


def go_back(whole: Path, folder: Path) -> None:
    """Copy the run, as it was when its step 4 was saved."""
    shutil.copytree(whole / "runs" / "run", folder / "run")
    for name in (WEIGHTS, SPACE):
        (folder / "run" / name).unlink()
    for path in (folder / "run" / CHECKPOINTS).glob("step-000000008.*"):
        path.unlink()


def test_a_run_that_goes_on_loads_them_no_second_time(whole: Path, digits: Path, tmp_path: Path) -> None:
    """To the last bit, and without needing them any more."""
    go_back(whole, tmp_path)
    moved = whole / "moved"
    (whole / "start").rename(moved)
    try:
        done = trained(digits, tmp_path, whole / "start", "--resume")
    finally:
        moved.rename(whole / "start")
    assert done.returncode == 0, done.stderr
    assert "continuing at step 4" in done.stderr
    found, wanted = (load_file(folder / "run" / WEIGHTS) for folder in (tmp_path, whole / "runs"))
    assert all(torch.equal(tensor, found[name]) for name, tensor in wanted.items())
    assert origin_of(tmp_path / "run") == ORIGIN


def test_a_run_goes_on_with_no_others(whole: Path, digits: Path, tmp_path: Path) -> None:
    go_back(whole, tmp_path)
    other = saved(tmp_path / "other", seed=2)
    line = refused(trained(digits, tmp_path, other, "--resume"))
    assert "was begun with model.start=/" in line  # long paths are shortened
    kept = whole / "kept"
    (whole / "start").rename(kept)
    shutil.copytree(other, whole / "start")
    try:
        line = refused(trained(digits, tmp_path, whole / "start", "--resume"))
    finally:
        shutil.rmtree(whole / "start")
        kept.rename(whole / "start")
    assert "are not those that" in line


def test_a_classifier_of_other_classes_must_be_asked_for(digits: Path, tmp_path: Path) -> None:
    start = saved(tmp_path / "start", named("mobilenet_v3_digits", classes=7).space())
    line = refused(trained(digits, tmp_path, start))
    assert "classifier.weight is float32 [7, 192], not float32 [10, 192]" in line
    assert "model.start_classifier=new" in line
    assert not (tmp_path / "run").exists()
    done = trained(digits, tmp_path, start, "model.start_classifier=new", *STILL)
    assert done.returncode == 0, done.stderr
    found, begun = (parameters(load_file(folder / WEIGHTS)) for folder in (tmp_path / "run", start))
    assert found["classifier.weight"].shape == (10, 192)
    for classifier in ("classifier.weight", "classifier.bias"):
        del found[classifier], begun[classifier]
    assert_near(found, begun)


def test_kernel_matrices_that_they_lack_are_the_identity(digits: Path, tmp_path: Path) -> None:
    stages = tuple(replace(stage, has_transforms=False) for stage in SPACE_OF_RUN.stages)
    start = saved(tmp_path / "start", replace(SPACE_OF_RUN, stages=stages))
    assert trained(digits, tmp_path, start, *STILL).returncode == 0
    found = load_file(tmp_path / "run" / WEIGHTS)
    matrices = {name: tensor for name, tensor in found.items() if ".transforms." in name}
    assert matrices
    assert_near(matrices, {name: torch.eye(len(tensor)) for name, tensor in matrices.items()})
    subnet = SPACE_OF_RUN.smallest()
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        before, after = (load_supernet(folder).train() for folder in (start, tmp_path / "run"))
        torch.testing.assert_close(before(images, subnet), after(images, subnet), rtol=1e-4, atol=1e-4)


def test_weights_that_do_not_fit_are_refused_before_anything_is_written(digits: Path, tmp_path: Path) -> None:
    refusals = {
        saved(
            tmp_path / "wider", named("mobilenet_v3_digits", classes=10, width=1.5).space()
        ): "stem.weight is float32",
        saved(tmp_path / "proxyless", named("proxyless_digits", classes=10).space()): "is not of the run's network",
        tmp_path / "nowhere": "is not there",
    }
    for start, reason in refusals.items():
        assert reason in refused(trained(digits, tmp_path, start))
        assert not (tmp_path / "run").exists()
    (tmp_path / "wider" / WEIGHTS).write_bytes(b"0" * 99)
    assert "cannot be loaded" in refused(trained(digits, tmp_path, tmp_path / "wider"), code=1)


def test_a_new_classifier_needs_something_to_begin_with(digits: Path, tmp_path: Path) -> None:
    line = refused(deps("train", *small_run(digits, tmp_path), "model.start_classifier=new"))
    assert "start_classifier: is for runs with a start" in line


def test_a_dry_run_begins_with_them_too(digits: Path, tmp_path: Path) -> None:
    start = saved(tmp_path / "start")
    done = deps("train", *arguments(digits, tmp_path, start), "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)
