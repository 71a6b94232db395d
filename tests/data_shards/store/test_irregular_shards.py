"""A FIFO or a device in the place of a file in a shard folder is named, and nobody waits for it."""

import os
import shutil

import pytest

from data_shards.config import DataConfig
from data_shards.decoding import dali as dali_reader
from data_shards.errors import ShardDamage
from data_shards.loading.loader import EvaluationLoader, TrainLoader
from data_shards.store.index import open_split
from data_shards.store.verify import verify
from tests.support.command_line import deps

needs_dali = pytest.mark.skipif(not dali_reader.installed(), reason="needs NVIDIA DALI: pip install '.[dali]'")
READERS = ["python", pytest.param("dali", marks=needs_dali)]
SHARD = "train/train-000001.tar"
PLACES = {
    "a FIFO": os.mkfifo,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a folder": lambda path: path.mkdir(),
}

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(params=PLACES)
def put_there(request):
    def put(path):
        path.unlink()
        PLACES[request.param](path)

    return put


@pytest.mark.parametrize("file", ["manifest.json", "train/index.npy", SHARD])
def test_nothing_but_a_file_is_opened(breakable, put_there, file):
    put_there(breakable / file)
    with pytest.raises(ShardDamage, match=r"is not a regular file$") as caught:
        open_split(breakable, "train")
    assert caught.value.shard == str(breakable / file)
    for command in ("verify", "show"):
        done = deps("shards", command, breakable, cwd=breakable.parent)
        assert done.returncode == 1
        told = [line for line in (done.stdout + done.stderr).splitlines() if "is not a regular file" in line]
        assert len(told) == 1
        assert str(breakable / file) in told[0]


def test_verify_tells_which_samples_are_lost_with_it(breakable, put_there):
    put_there(breakable / SHARD)
    (damage,) = verify(breakable)
    assert (damage.key, damage.samples, damage.reason) == ("000000040", 40, "cannot be read: is not a regular file")


def evaluation(root, reader):
    return EvaluationLoader(open_split(root, "train"), DataConfig(shards=root, workers=0, reader=reader), 32, 50, 0, 1)


def sequential(root, reader):
    config = DataConfig(shards=root, workers=0, access="sequential", shuffle_block=32, reader=reader)
    return TrainLoader(open_split(root, "train"), config, 32, 50, 0, 0, 1, 0, 3)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("loading", [evaluation, sequential])
def test_what_takes_a_shards_place_in_mid_run_is_named(breakable, put_there, loading, reader):
    loader = loading(breakable, reader)
    put_there(breakable / SHARD)
    with pytest.raises(ShardDamage, match=r"sample 0000000\d\d at byte \d+: cannot be read: is not a regular file"):
        list(loader)


def test_a_link_to_a_file_is_as_good_as_the_file(digits100_root, breakable, tmp_path):
    shutil.move(breakable / SHARD, tmp_path / "elsewhere.tar")
    (breakable / SHARD).symlink_to(tmp_path / "elsewhere.tar")
    assert open_split(breakable, "train").read(50) == open_split(digits100_root, "train").read(50)
    assert verify(breakable) == []
