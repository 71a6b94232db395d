"""Small packed data sets on disk: some to read, and copies to damage."""

import io
import shutil
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import simplejpeg

from data_shards.packing.pack import pack
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
    """40 training and 8 test pictures of various sizes, much like photographs; not to be changed."""
    root = tmp_path_factory.mktemp("shards") / "photos"
    assert pack(Photos(train=40, test=8), root)
    return root


@pytest.fixture
def breakable(digits100_root, tmp_path):
    """A copy of `digits100_root` to damage."""
    return shutil.copytree(digits100_root, tmp_path / "digits100")


@pytest.fixture(scope="session")
def photo():
    """photo(seed, height, width): a smooth coloured picture, uint8 [height, width, 3], different for each seed."""

    def draw(seed, height=24, width=32):
        grid = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
        return cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)

    return draw


@pytest.fixture(scope="session")
def photo_file(photo):
    """photo_file(seed, height, width): the picture as the bytes of a JPEG."""
    return lambda seed, *size: simplejpeg.encode_jpeg(photo(seed, *size), quality=90, colorsubsampling="420")


@pytest.fixture(scope="session")
def write_tar():
    """write_tar(path, members): a tar, or its bytes where path is None, of (name, bytes), with times and owners."""

    def write(path, members, mode="w"):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode=mode) as tar:
            for number, (name, payload) in enumerate(members):
                member = tarfile.TarInfo(name)
                member.size, member.mtime, member.uname = len(payload), 1_300_000_000, "someone"
                if number % 2:
                    member.mtime += 0.5  # which needs an extended header before the member
                tar.addfile(member, io.BytesIO(payload))
        if path is not None:
            Path(path).write_bytes(buffer.getvalue())
        return buffer.getvalue()

    return write


@pytest.fixture(scope="session")
def write_tree():
    """write_tree(root, files): writes {path below root: bytes}."""

    def write(root, files):
        for name, payload in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(payload)
        return root

    return write


@pytest.fixture(scope="session")
def files_of():
    """files_of(root): the bytes of all files below it, by path."""

    def read(root):
        return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}

    return read
