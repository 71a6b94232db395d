"""The parts of `deps bench data`: what is taken for right, what CPU time counts, what a start is measured on."""

import multiprocessing
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_shards.sampler import EpochSampler
from data_shards.store.index import open_split
from data_shards.store.verify import verify
from pipeline.bench.reading import ours, readers, start
from pipeline.bench.reading.aims import aims
from pipeline.bench.reading.cpu_time import cpu_seconds
from pipeline.bench.reading.dali_sequential import write_indexes
from pipeline.bench.reading.photographs import CLASSES, Photographs, make_photographs
from pipeline.bench.reading.shown import BATCH, SEED, Promise, Shown, complaint
from pipeline.bench.reading.turns import Player, Turn
from pipeline.errors import RunFailure

SAMPLED = Promise(sampled=True)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Photographs:
    return make_photographs(tmp_path_factory.mktemp("photographs"), (64, 96), 130, shards=4)


def test_photographs_are_whole_shards_and_files_of_the_sizes_asked_for(photographs: Photographs) -> None:
    assert not verify(photographs.shards)
    split = open_split(photographs.shards, "train")
    assert len(split) == 130
    assert len(split.entry.shards) == 4
    assert split.classes == CLASSES
    sides = np.concatenate([split.index["height"], split.index["width"]])
    assert sides.min() >= 64
    assert sides.max() <= 96
    assert len(set(sides.tolist())) > 20
    assert len(list((photographs.folder / "train").glob("*/*.jpg"))) == 130


def test_photographs_are_the_same_each_time(photographs: Photographs, tmp_path: Path) -> None:
    again = make_photographs(tmp_path, (64, 96), 130, shards=4)
    first, second = (open_split(data.shards, "train").entry.index_sha256 for data in (photographs, again))
    assert first == second


def read(photographs: Photographs) -> Iterator[Shown]:
    return ours.python_reader(photographs, 0, False)


def test_a_right_pass_is_taken_for_right(photographs: Photographs) -> None:
    assert complaint(photographs, SAMPLED, read(photographs)) is None
    assert complaint(photographs, Promise("whole", True), ours.decode_alone(photographs, 0, False)) is None
    # Not in this process: torch's loader forks its workers, and a pipeline of DALI that another test has left here, not
    # yet collected, waits for its threads for ever where a fork collects it.
    with Player(readers.FOLDER, 1) as player:
        assert player.complaint(photographs) is None


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (
            lambda shown: shown._replace(images=shown.images[:, :, :150]),
            "images are torch.uint8 [64, 160, 150, 3], not",
        ),
        (lambda shown: shown._replace(images=shown.images.float()), "images are torch.float32"),
        (lambda shown: shown._replace(images=shown.images.flip(0)), "of 128 images do not show their label"),
        (lambda shown: shown._replace(images=shown.images * 0), "128 of 128 images do not show their label"),
        (lambda shown: shown._replace(ids=shown.ids.flip(0)), "the ids of batch 0 are not the sampler's"),
        (lambda shown: shown._replace(ids=None), "the ids of batch 0 are not the sampler's"),
        (lambda shown: shown._replace(labels=(shown.labels + 1) % 4), "the labels of batch 0 are not the index's"),
        (lambda shown: shown._replace(labels=shown.labels[:5]), "labels are [5] for 64 images"),
    ],
)
def test_what_is_wrong_is_told(photographs: Photographs, spoil: Any, told: str) -> None:
    found = complaint(photographs, SAMPLED, map(spoil, read(photographs)))
    assert found is not None
    assert told in found


def test_a_pass_that_lacks_images_or_has_too_many_is_told(photographs: Photographs) -> None:
    first, second = read(photographs)
    unsampled = Promise()
    assert complaint(photographs, unsampled, iter([first])) == "one pass shows 64 images, not 128"
    assert complaint(photographs, unsampled, iter([first, second, first])) == "one pass shows 192 images, not 128"


def test_dalis_index_says_where_the_members_are(photographs: Photographs) -> None:
    write_indexes(photographs)
    split = open_split(photographs.shards, "train")
    keys = []
    for shard in split.entry.shards:
        tar = (split.folder / shard.name).read_bytes()
        first, *lines = (split.folder / shard.name).with_suffix(".idx").read_text().splitlines()
        assert first == f"v1.2 {shard.samples}"
        for line in lines:
            jpg, offset, size, jpg_name, cls, label_offset, label_size, cls_name = line.split()
            assert (jpg, cls) == ("jpg", "cls")
            sample = int(jpg_name.removesuffix(".jpg"))
            assert cls_name == f"{split.key(sample)}.cls"
            assert tar[int(offset) :][: int(size)] == split.read(sample)
            assert int(tar[int(label_offset) :][: int(label_size)]) == split.labels[sample]
            keys.append(sample)
    assert keys == list(range(130))


def burn(seconds: float) -> None:
    while time.process_time() < seconds:
        pass


def burn_in_a_grandchild(seconds: float) -> None:
    grandchild = multiprocessing.get_context("fork").Process(target=burn, args=(time.process_time() + seconds,))
    grandchild.start()
    grandchild.join()


@pytest.mark.parametrize("target", [burn, burn_in_a_grandchild])
def test_cpu_time_counts_children_that_have_ended(target: Any) -> None:
    began = cpu_seconds()
    child = multiprocessing.get_context("spawn").Process(target=target, args=(0.6,))
    child.start()
    child.join()
    assert cpu_seconds() - began >= 0.58


def test_cpu_time_counts_children_that_run_and_their_children() -> None:
    burning = "import time\nwhile time.process_time() < 0.6: pass"
    living = "print(flush=True)\nimport sys; sys.stdin.read()"
    burner = f"{burning}\n{living}"
    parent_of_one = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burner!r}])"
    parent_of_an_ended_one = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burning!r}])\n{living}"
    for source in (burner, parent_of_one, parent_of_an_ended_one):
        began, own = cpu_seconds(), time.process_time()
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        with subprocess.Popen([sys.executable, "-c", source], **pipes) as child:
            assert child.stdout is not None
            child.stdout.readline()  # it has burnt, and goes on living
            counted = cpu_seconds() - began
            assert counted >= 0.58
            assert counted - (time.process_time() - own) < 5  # and not twice, or all that the machine does
            assert child.stdin is not None
            child.stdin.close()


def test_cpu_time_does_not_count_the_parent_or_others() -> None:
    began, own = cpu_seconds(), time.process_time()
    other = subprocess.Popen([sys.executable, "-c", "pass"])
    other.wait()
    burn(time.process_time() + 0.3)
    assert cpu_seconds() - began >= time.process_time() - own >= 0.3


def test_a_player_shows_images_in_a_process_of_its_own_and_tells_what_fails_there(photographs: Photographs) -> None:
    with Player(readers.PYTHON_IN_PROCESS, 2) as player:
        assert player.complaint(photographs) is None
        turn = player.turn(photographs, 0.05)
        assert isinstance(turn, Turn)
        assert turn.images % BATCH == 0 < turn.images
        assert turn.cpu_seconds > 0
        assert turn.seconds >= 0.05
        missing = photographs._replace(shards=Path("/nowhere"))
        assert "no shards at /nowhere" in (player.complaint(missing) or "")
        with pytest.raises(RunFailure, match="no shards at /nowhere"):
            player.turn(missing, 0.05)
        assert player.complaint(photographs) is None
        player._process.kill()
        player._process.wait()
        assert "its process ended with" in (player.complaint(photographs) or "")


def test_the_start_is_of_a_data_set_that_the_loader_takes_for_whole(tmp_path: Path) -> None:
    folder = start.make_large(tmp_path, 20_000, 20)
    split = open_split(folder, "train")
    assert len(split) == 20_000
    assert len(split.entry.shards) == 20
    index = split.index
    ends = index["offset"].astype(np.int64) + index["size"]
    lengths = np.array([shard.bytes for shard in split.entry.shards])
    assert (ends <= lengths[index["shard"]]).all()
    same = index["shard"][1:] == index["shard"][:-1]
    assert (index["offset"][1:][same] >= ends[:-1][same]).all()
    assert [shard.samples for shard in split.entry.shards] == np.bincount(index["shard"]).tolist()
    (only,) = start.start_together(folder, start.late_step(20_000), 1)
    assert 0 < only.ready_seconds <= only.first_ids_seconds
    assert only.peak_bytes is None or 0 < (only.added_bytes or 0) < only.peak_bytes


def test_a_late_step_is_in_the_middle_of_a_late_epoch() -> None:
    sampler = EpochSampler(start.SAMPLES, start.BATCH, SEED)
    step = start.late_step(start.SAMPLES)
    assert sampler.epoch(step) == 250 < start.EPOCHS
    assert step % sampler.steps_per_epoch == sampler.steps_per_epoch // 2


def test_a_start_that_fails_is_told(tmp_path: Path) -> None:
    with pytest.raises(RunFailure, match=r"start of rank 0 of 1: its process ended with 1: .*no shards at"):
        start.start_together(tmp_path, 0, 1)


def test_aims_are_met_missed_or_not_measured() -> None:
    data = [{"data_set": "64-256 px", "sides_px": (64, 256)}]
    figures = {
        readers.DECODE: (1.0, 100.0),
        readers.PYTHON_IN_PROCESS: (1.0, 260.0),
        readers.PYTHON: (300.0, 1.0),
        readers.WEBDATASET: (150.0, 1.0),
    }
    rows: list[dict[str, Any]] = [
        {"data_set": "64-256 px", "contender": name, "images_per_second": rate, "cpu_us_per_image": cpu}
        for name, (rate, cpu) in figures.items()
    ]
    rows += [
        {"data_set": "64-256 px", "contender": name, "status": "left out"}
        for name in (readers.DALI, readers.DALI_SEQUENTIAL)
    ]
    starts = [
        {"samples": start.SAMPLES, "first_ids_seconds": seconds, "added_bytes": added * 2**20}
        for seconds, added in ((0.5, 299), (2.5, 100))
    ]
    found = aims(data, rows, starts, {"wait_fraction": 0.05})
    assert [(round(aim.measured or 0, 3), aim.met) for aim in found] == [
        (2.6, False),
        (2.0, True),
        (0, None),
        (0.05, True),
        (2.5, False),
        (299, True),
    ]
    assert [aim.met for aim in aims([], [], [{"samples": 5}], {})] == [None] * 3
