"""A process has a bounded number of shards open, whatever its limit is and however many read."""

import resource
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from data_shards.packing.pack import pack
from data_shards.sources.digits100 import Digits100
from data_shards.store import open_files
from data_shards.store.index import open_split


def open_shards(root):
    """How many tars below `root` this process has open."""
    files = [file.path for file in psutil.Process().open_files()]
    return sum(file.startswith(f"{root}/") and file.endswith(".tar") for file in files)


@pytest.fixture(scope="module")
def many_shards(tmp_path_factory):
    """150 training and 60 test images, each in a shard of its own."""
    root = tmp_path_factory.mktemp("many") / "digits100"
    pack(Digits100(train=150, test=60, seed=3), root, samples_per_shard=1)
    return root


@pytest.fixture
def at_most(monkeypatch):
    def limit(files):
        monkeypatch.setattr(open_files.resource, "getrlimit", lambda kind: (2 * files, resource.RLIM_INFINITY))

    return limit


def test_few_shards_are_open_at_a_time(many_shards, at_most):
    at_most(3)
    split = open_split(many_shards, "train")
    assert open_shards(many_shards) == 0
    for sample in [*range(0, 150, 10), *range(0, 150, 15)]:
        assert len(split.read(sample)) == split.index[sample]["size"]
        assert open_shards(many_shards) <= 3
    del split
    assert open_shards(many_shards) == 0


def test_splits_and_threads_of_a_process_share_the_limit(many_shards, at_most):
    at_most(4)
    splits = [open_split(many_shards, "train"), open_split(many_shards, "test"), open_split(many_shards, "test")]
    expected = [[split.read(sample) for sample in range(60)] for split in splits]
    assert open_shards(many_shards) == 4
    with ThreadPoolExecutor(3) as pool:
        for _ in range(5):
            assert [list(pool.map(split.read, range(60))) for split in splits] == expected
    assert open_shards(many_shards) == 4


def test_the_shard_read_last_stays_open(many_shards, at_most):
    at_most(2)
    split = open_split(many_shards, "train")
    for sample in (0, 1, 0, 2):
        split.read(sample)
    (many_shards / "train" / "train-000000.tar").rename(many_shards / "aside")
    try:
        assert split.read(0), "opened before it was moved away"
    finally:
        (many_shards / "aside").rename(many_shards / "train" / "train-000000.tar")


@pytest.mark.parametrize(
    ("limit", "files"), [(1024, 512), (256, 128), (4, 2), (1, 1), (10**6, 512), (resource.RLIM_INFINITY, 512)]
)
def test_half_of_what_a_process_may_open_is_left_to_others(monkeypatch, limit, files):
    monkeypatch.setattr(open_files.resource, "getrlimit", lambda kind: (limit, limit))
    assert open_files.most_open() == files


def test_more_shards_than_open_files_are_allowed_are_read_by_all_readers(many_shards, tmp_path):
    program = tmp_path / "read.py"
    program.write_text(
        textwrap.dedent("""
            import resource, sys
            from data_shards.decoding import dali as dali_reader
            from data_shards.store.index import open_split
            from data_shards.loading.loader import DataConfig, EvaluationLoader, TrainLoader
            if __name__ == "__main__":
                resource.setrlimit(resource.RLIMIT_NOFILE, (96, 96))
                splits = [open_split(sys.argv[1], name) for name in ("train", "test")]
                readers = [dict(workers=0), dict(workers=1)]
                if dali_reader.installed():
                    readers.append(dict(workers=2, reader="dali"))
                kept = []  # loaders, with what they have open
                for keys in readers:
                    for split in splits:
                        config = DataConfig(shards=sys.argv[1], **keys)
                        kept.append(EvaluationLoader(split, config, 32, 16, 0, 1))
                    config = DataConfig(shards=sys.argv[1], access="sequential", **keys)
                    kept.append(TrainLoader(splits[0], config, 32, 16, 0, 0, 1, 0, 9))
                print([sum(len(batch.ids) for batch in loader) for loader in kept])
        """)
    )
    done = subprocess.run([sys.executable, program, many_shards], capture_output=True, text=True, timeout=120)
    assert done.stderr == ""
    counts = eval(done.stdout)
    assert counts == [150, 60, 144] * (len(counts) // 3)
