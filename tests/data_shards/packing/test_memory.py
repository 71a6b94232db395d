"""Packing holds names in memory, never images: a data set that is larger by hundreds of MB takes no more."""

import io
import subprocess
import sys
import tarfile
import textwrap

import numpy as np
import pytest
import simplejpeg

IMAGES = 5000

PROGRAM = textwrap.dedent("""
    import re, sys
    from pathlib import Path
    from data_shards.packing.pack import pack
    from data_shards.sources.image_file import Preparation
    from data_shards.sources.imagenet import imagenet
    src, out = map(Path, sys.argv[1:])
    pack(imagenet(src, Preparation()), out, samples_per_shard=500, threads=2)
    # Not getrusage, which counts what this process was before it became this program.
    print(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
""")


@pytest.fixture
def published(tmp_path):
    """published(images): ImageNet's tars with so many training images, 52 KB each."""
    noise = np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8)
    jpeg = simplejpeg.encode_jpeg(noise, quality=98, colorsubsampling="444")

    def write(images):
        src = tmp_path / f"src{images}"
        src.mkdir()
        with tarfile.open(src / "ILSVRC2012_img_train.tar", "w") as outer:
            for synset in ("n00000001", "n00000002"):
                inner = io.BytesIO()
                with tarfile.open(fileobj=inner, mode="w") as tar:
                    for number in range(images // 2):
                        add(tar, f"{synset}_{number}.JPEG", jpeg)
                add(outer, f"{synset}.tar", inner.getvalue())
        with tarfile.open(src / "ILSVRC2012_img_val.tar", "w") as tar:
            for number in (1, 2):
                add(tar, f"ILSVRC2012_val_{number:08d}.JPEG", jpeg)
        (src / "val_labels.txt").write_text("n00000001\nn00000002\n")
        return src

    return write


def add(tar, name, payload):
    member = tarfile.TarInfo(name)
    member.size = len(payload)
    tar.addfile(member, io.BytesIO(payload))


def test_memory_does_not_grow_with_the_data_set(published, tmp_path):
    peaks, sizes = [], []
    for images in (IMAGES // 10, IMAGES):
        src, out = published(images), tmp_path / f"out{images}"
        done = subprocess.run([sys.executable, "-c", PROGRAM, src, out], capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout) / 1024)  # MB
        sizes.append(sum(path.stat().st_size for path in src.iterdir()) / 2**20)
    assert sizes[1] - sizes[0] > 150
    assert peaks[1] - peaks[0] < 25, f"{peaks} MB for {sizes} MB of images"
