"""Evaluation by `bilinear` and `bicubic` shows the pixels of torchvision's Resize and CenterCrop on PIL images."""

import io
import math
from typing import ClassVar

import numpy as np
import pytest
import simplejpeg
from PIL import Image
from pydantic import ValidationError

from data_shards.decoding import dali as dali_reader
from data_shards.errors import ShardDamage
from data_shards.loading import choice
from data_shards.loading.batch_reader import BatchReader
from data_shards.loading.loader import DataConfig, EvaluationLoader
from data_shards.packing.pack import pack
from data_shards.sources import Sample
from data_shards.store.image_format import encode_png
from data_shards.store.index import open_split
from tests.data_shards.pictures import photo

# Height and width: with a rest of each kind in the rounding of sizes and offsets; much larger, and smaller than shown.
SIZES = ((375, 500), (500, 333), (281, 281), (101, 67), (640, 961), (57, 90), (256, 301), (303, 256), (21, 187))
FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def grey(image):
    return simplejpeg.encode_jpeg(image[:, :, :1].copy(), colorspace="GRAY", colorsubsampling="Gray")


def turned(image):
    """A JPEG that asks viewers to turn it by 90°, which neither torchvision nor a reader of ours does."""
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=90, exif=exif)
    return file.getvalue()


def progressive(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=80, progressive=True)
    return file.getvalue()


FORMATS = (
    *(
        lambda image, sampling=sampling: simplejpeg.encode_jpeg(image, quality=85, colorsubsampling=sampling)
        for sampling in ("420", "422", "440", "444")
    ),
    grey,
    turned,
    progressive,
    encode_png,
)


class Pictures:
    """A source of pictures of all `SIZES` in all `FORMATS`; in the test split one that is too elongated."""

    name = "pictures"
    classes = ("one",)
    options: ClassVar[dict] = {}
    folders = ()
    splits: ClassVar[dict] = {"train": len(SIZES) * len(FORMATS), "test": 1}

    def identity(self, split, positions):
        return b""

    def samples(self, split, positions):
        for number in positions.tolist():
            height, width = SIZES[number % len(SIZES)] if split == "train" else (1, 65_500)
            image = photo(height, width, number)
            yield Sample(FORMATS[number // len(SIZES)](image), 0, height, width)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards") / "pictures"
    assert pack(Pictures(), folder)
    return folder


def torchvisions(encoded, resolution, crop, interpolation):
    """Resize(⌈resolution / crop⌉) and CenterCrop(resolution): uint8 RGB [resolution, resolution, 3]."""
    image = Image.open(io.BytesIO(encoded)).convert("RGB")
    side = math.ceil(resolution / crop)
    width, height = image.size
    size = (side, int(side * height / width)) if width <= height else (int(side * width / height), side)
    if size != image.size:
        image = image.resize(size, FILTERS[interpolation])
    left, top = (round((length - resolution) / 2.0) for length in image.size)
    return np.asarray(image.crop((left, top, left + resolution, top + resolution)))


def evaluated(root, resolution, crop, interpolation, **keys):
    data = DataConfig(shards=root, evaluation_crop=crop, evaluation_interpolation=interpolation, **keys)
    split = open_split(root, "train")
    batches = list(EvaluationLoader(split, data, resolution, 20, 0, 1))
    return split, np.concatenate([batch.images.numpy() for batch in batches])


@pytest.mark.parametrize("interpolation", FILTERS)
@pytest.mark.parametrize(("resolution", "crop"), [(224, 0.875), (160, 0.875), (164, 0.875), (33, 1.0), (57, 0.6)])
def test_every_pixel_is_torchvisions(root, resolution, crop, interpolation):
    split, images = evaluated(root, resolution, crop, interpolation, workers=0)
    assert images.dtype == np.uint8
    for sample, image in enumerate(images):
        expected = torchvisions(split.read(sample), resolution, crop, interpolation)
        assert (image == expected).all(), f"sample {sample}: {split.index[sample]}"
    assert len(images) == len(SIZES) * len(FORMATS)


def test_workers_and_sequential_access_show_the_same(root):
    _, alone = evaluated(root, 64, 0.875, "bicubic", workers=0)
    _, others = evaluated(root, 64, 0.875, "bicubic", workers=1, access="sequential")
    assert (alone == others).all()


def test_a_process_may_have_nothing_to_show(root):
    data = DataConfig(shards=root, evaluation_interpolation="bilinear", workers=0)
    (batch,) = EvaluationLoader(open_split(root, "train"), data, 32, 8, 2, 3, ids=[4])
    assert batch.images.shape == (0, 32, 32, 3)


def test_the_default_is_one_cut_and_another_image(root):
    _, default = evaluated(root, 64, 0.875, "fast", workers=0)
    _, resized = evaluated(root, 64, 0.875, "bilinear", workers=0)
    difference = np.abs(default.astype(int) - resized)
    assert 0.3 < difference.mean() < 8


def test_dali_is_refused_and_auto_evaluates_by_python(root, monkeypatch):
    with pytest.raises(
        ValidationError, match="evaluation_interpolation: bicubic is for reader: python or auto, not dali"
    ):
        DataConfig(shards=root, evaluation_interpolation="bicubic", reader="dali")
    monkeypatch.setattr(choice.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(dali_reader, "installed", lambda: True)
    split, data = open_split(root, "train"), DataConfig(shards=root, evaluation_interpolation="bicubic", reader="auto")
    assert EvaluationLoader(split, data, 64, 8, 0, 1).reader.startswith("python")
    assert BatchReader(split, data, seed=0, substitute=False).name == "dali", "training"


def test_an_image_that_would_fill_the_memory_is_named(root):
    data = DataConfig(shards=root, evaluation_crop=0.875, evaluation_interpolation="bilinear", workers=0)
    with pytest.raises(ShardDamage, match=r"sample 0{9} .* is 8384000 x 128 pixels when resized, which is more than"):
        list(EvaluationLoader(open_split(root, "test"), data, 112, 8, 0, 1))
