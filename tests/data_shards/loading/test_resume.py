"""A run killed at a random step and continued by another number of ranks shows what the uninterrupted one shows."""

import os
import random
import zlib
from itertools import chain

import pytest

from data_shards.augmentation.config import Augmentation
from data_shards.decoding import dali as dali_reader
from data_shards.loading.loader import DataConfig, TrainLoader
from data_shards.store.index import open_split
from tests.support.forked_program import REPOSITORY, Forked

BATCH, SEED, STEPS = 12, 11, 40  # an epoch is 12 steps: kills fall into several
AUGMENTATION = Augmentation(crop="random_resized", flip=True)
RESOLUTIONS = (24, 32, 40)

# One rank of a run. It prints each step's samples as soon as it has them, then waits a little, as training would.
RANK = """
import sys, time
from tests.data_shards.loading.test_resume import loader, shown
if __name__ == "__main__":
    reader, root, rank, world = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    # To start a reader process for each of several ranks would take most of the time.
    workers = 1 if world == 1 or reader == "dali" else 0
    for step, batch in enumerate(loader(reader, root, rank, world, start=0, workers=workers)):
        print("step", step, *shown(batch), flush=True)
        time.sleep(0.05)
"""


def resolution(step):
    return RESOLUTIONS[step % 3]


def loader(reader, root, rank, world, start, workers=0):
    config = DataConfig(shards=root, augmentation=AUGMENTATION, reader=reader, workers=workers)
    return TrainLoader(open_split(root, "train"), config, resolution, BATCH, SEED, rank, world, start, STEPS)


def shown(batch):
    """Each image of a batch as text: the sample, and a checksum of its pixels."""
    images, labels = batch.images.numpy(), batch.labels.tolist()
    return [
        f"{sample}:{label}:{len(image)}:{zlib.crc32(image.tobytes()):08x}"
        for sample, label, image in zip(batch.ids.tolist(), labels, images, strict=True)
    ]


@pytest.fixture(scope="module", params=["python", "dali"])
def reader(request):
    if request.param == "dali" and not dali_reader.installed():
        pytest.skip("needs NVIDIA DALI: pip install '.[dali]'")
    return request.param


@pytest.fixture(scope="module")
def uninterrupted(reader, digits100_root):
    """What one process shows, step by step."""
    return [shown(batch) for batch in loader(reader, digits100_root, 0, 1, start=0)]


def run_until_killed(reader, root, program, world):
    """Runs `world` ranks, kills all at a random moment, and returns what each had shown: by rank, by step."""
    last = random.SystemRandom().randrange(1, 30)
    print(f"{world} ranks, killed after step {last}")
    command = [str(program), reader, str(root)]
    ranks = [Forked([*command, str(rank), str(world)], os.environ, REPOSITORY) for rank in range(world)]
    try:
        for _ in range(last + 1):
            for process in ranks:
                assert process.readline(), "a rank ended by itself"
    finally:
        for process in ranks:
            process.kill()
    seen = [process.communicate()[0].splitlines(keepends=True) for process in ranks]
    whole = [[line for line in lines if line.startswith("step ") and line.endswith("\n")] for lines in seen]
    return [[line.split()[2:] for line in lines] for lines in whole]


@pytest.mark.parametrize("before", [1, 2, 3])
def test_a_killed_run_continues_with_any_number_of_ranks(reader, digits100_root, tmp_path, uninterrupted, before):
    program = tmp_path / "rank.py"
    program.write_text(RANK)
    shares = run_until_killed(reader, digits100_root, program, before)
    done = min(len(share) for share in shares)  # the steps that all ranks have taken: what a checkpoint would hold
    first = [list(chain.from_iterable(share[step] for share in shares)) for step in range(done)]
    for after in (1, 2, 3):
        continued = [list(loader(reader, digits100_root, rank, after, start=done)) for rank in range(after)]
        rest = [list(chain.from_iterable(map(shown, step))) for step in zip(*continued, strict=True)]
        assert len(first) + len(rest) == STEPS
        for step, (ours, theirs) in enumerate(zip(first + rest, uninterrupted, strict=True)):
            assert sorted(ours) == sorted(theirs), f"step {step}, killed after {done}, {before} → {after} ranks"


def test_an_epoch_across_the_kill_shows_no_sample_twice(digits100_root, uninterrupted):
    for epoch in range(3):
        samples = [image.split(":")[0] for step in uninterrupted[12 * epoch : 12 * (epoch + 1)] for image in step]
        assert len(set(samples)) == 12 * BATCH


def test_resuming_reads_nothing_of_what_was_consumed(digits100_root, monkeypatch):
    reads = []
    read = os.pread
    monkeypatch.setattr(os, "pread", lambda *arguments: reads.append(arguments) or read(*arguments))
    batches = iter(loader("python", digits100_root, 0, 1, start=35))
    next(batches)
    assert len(reads) == BATCH
