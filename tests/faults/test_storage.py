"""A disk that is full or read-only, a run folder that is deleted: one line, all leave, and what was saved stays."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.experiment import train
from pipeline.recipe.reading import load_recipe
from pipeline.run.layout import CHECKPOINTS, METRICS
from tests.faults.broken_run import STEPS, Run, Weights, assert_same, ended
from tests.support.progress import wait_for_steps

pytestmark = pytest.mark.distributed

WORLD = 2


class Disk:
    """A small file system of its own in memory, at `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "none", path], check=True, capture_output=True)

    def remount(self, *options: str) -> None:
        subprocess.run(["mount", "-o", ",".join(("remount", *options)), self.path], check=True)

    def fill(self) -> None:
        with open(self.path / "ballast", "wb", buffering=0) as ballast:
            try:
                while ballast.write(bytes(4096)):
                    pass
            except OSError:
                pass

    def remove(self) -> None:
        subprocess.run(["umount", "--recursive", "--lazy", self.path], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    try:
        disk = Disk(tmp_path / "disk")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("file systems cannot be mounted here: needs root, and a container that may")
    yield disk
    disk.remove()


@pytest.fixture(scope="module")
def left_alone(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Weights:
    whole = Run(digits, tmp_path_factory.mktemp("whole"), "whole", WORLD)
    whole.finish()
    return whole.weights()


def test_a_disk_too_small_for_the_next_checkpoint_ends_the_run_and_more_space_continues_it(
    digits: Path, disk: Disk, left_alone: Weights
) -> None:
    disk.remount("size=3m")  # two checkpoints
    run = Run(digits, disk.path, "full", WORLD)
    codes, lines = ended(run.start())
    assert codes == [1] * WORLD
    path = run.folder / "checkpoints" / "step-000000012.safetensors"
    assert lines == [f"pipeline.train: checkpoint {path}: cannot be written: No space left on device"]
    assert run.saved() == [4, 8]
    assert not list((run.folder / "checkpoints").glob(".*"))

    disk.remount("size=64m")
    assert "continuing at step 8" in run.finish()[0]
    assert_same(run.weights(), left_alone)
    assert run.steps_read() == list(range(1, STEPS + 1))


@pytest.mark.faults
def test_a_disk_that_others_fill_ends_the_run_at_the_next_row_of_metrics(
    digits: Path, disk: Disk, left_alone: Weights
) -> None:
    run = Run(digits, disk.path, "full", WORLD)
    processes = run.start()
    wait_for_steps(run.folder, 5, processes)
    disk.fill()
    codes, lines = ended(processes)
    assert codes == [1] * WORLD
    assert len(lines) == 1
    assert lines[0].startswith(f"pipeline.train: {run.folder}/")
    assert lines[0].endswith(": No space left on device")

    assert ended(run.start()) == (
        [2, 1],
        [f"pipeline.train: run folder {run.folder}: cannot be written: No space left on device; choose another runs=…"],
    )
    os.unlink(disk.path / "ballast")
    assert "continuing at step " in run.finish()[0]
    assert_same(run.weights(), left_alone)
    assert run.steps_read() == list(range(1, STEPS + 1))


@pytest.mark.faults
def test_a_run_folder_that_turns_read_only_ends_the_run(digits: Path, disk: Disk, left_alone: Weights) -> None:
    run = Run(digits, disk.path, "sealed", WORLD)
    processes = run.start()
    wait_for_steps(run.folder, 5, processes)
    # A file system with files open for writing refuses to turn read-only; a mount over the folder does not ask.
    subprocess.run(["mount", "--bind", run.folder, run.folder], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", run.folder], check=True)
    codes, lines = ended(processes)
    assert codes == [1] * WORLD
    assert len(lines) == 1
    assert lines[0].startswith(f"pipeline.train: {run.folder}/")
    assert lines[0].endswith(": Read-only file system")
    saved = run.saved()
    assert saved

    codes, lines = ended(run.start())
    assert codes == [2, 1]
    assert len(lines) == 1
    assert "cannot be written: Read-only file system" in lines[0]

    subprocess.run(["umount", run.folder], check=True)
    assert f"continuing at step {saved[-1]}" in run.finish()[0]
    assert_same(run.weights(), left_alone)


def test_a_checkpoint_is_on_the_disk_after_the_metrics_of_its_steps(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that loses power keeps what was synced."""
    run = Run(digits, tmp_path, "synced", 1, "schedule.duration=20 steps", "checkpoint.every=6 steps")
    sync, synced = os.fsync, {}

    def syncing(descriptor: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        if path == run.folder / METRICS:
            synced["rows"] = path.read_bytes().count(b"\n")
        elif path.parent.name == CHECKPOINTS:
            synced[path.name] = synced["rows"]
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", syncing)
    recipe, *overrides = run.command[2:-1]
    train(load_recipe(Path(recipe), overrides), resume=False)
    sidecars = {name: rows for name, rows in synced.items() if ".json" in name}
    assert sidecars == {f".step-{step:09d}.json.writing": step for step in (6, 12, 18, 20)}


def test_metrics_that_were_cut_are_told_where_the_run_goes_on(digits: Path, tmp_path: Path) -> None:
    run = Run(digits, tmp_path, "cut", 1, "schedule.duration=20 steps")
    run.finish()
    metrics = run.folder / METRICS
    rows = metrics.read_bytes().splitlines(keepends=True)
    metrics.write_bytes(b"".join(rows[:7]) + rows[7][:50])
    assert f"{metrics}: ends at step 7; what was measured from there to step 20 is lost" in run.finish()[0]


def test_a_run_folder_that_is_deleted_ends_the_run(digits: Path, tmp_path: Path) -> None:
    run = Run(digits, tmp_path, "deleted", WORLD, "schedule.duration=4000 steps")  # does not end before
    processes = run.start()
    wait_for_steps(run.folder, 5, processes)
    shutil.rmtree(run.folder.rename(tmp_path / "going"))  # at once, where removing file by file meets new ones
    codes, lines = ended(processes)
    assert codes == [1] * WORLD
    assert len(lines) == 1
    assert lines[0].startswith(f"pipeline.train: {run.folder}/")
    assert lines[0].endswith(": No such file or directory")
    assert not run.folder.exists()
