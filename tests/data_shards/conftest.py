"""Small packed data sets, real files all: one to read, and copies of it to damage."""

import shutil

import pytest

from data_shards.pack import pack
from data_shards.sources.digits import Digits
from data_shards.sources.digits100 import Digits100
from tests.data_shards.pictures import Photos


@pytest.fixture(scope="session")
def digits_root(tmp_path_factory):
    """The digits in shards of 200."""
    root = tmp_path_factory.mktemp("shards") / "digits"
    assert pack(Digits(), root, samples_per_shard=200)
    return root


@pytest.fixture(scope="session")
def digits100_root(tmp_path_factory):
    """150 training and 60 test images of digits100, in shards of 40; not to be changed."""
    root = tmp_path_factory.mktemp("shards") / "digits100"
    assert pack(Digits100(train=150, test=60, seed=3), root, samples_per_shard=40)
    return root


@pytest.fixture(scope="session")
def photos_root(tmp_path_factory):
    """40 training and 8 test photographs, so to speak, of various sizes; not to be changed."""
    root = tmp_path_factory.mktemp("shards") / "photos"
    assert pack(Photos(train=40, test=8), root)
    return root


@pytest.fixture
def breakable(digits100_root, tmp_path):
    """A copy of `digits100_root` to damage."""
    return shutil.copytree(digits100_root, tmp_path / "digits100")
