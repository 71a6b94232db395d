"""The DALI reader against the Python reader: the same samples and crops, nearly the same pixels."""

import io

import numpy as np
import pytest
import simplejpeg
import torch
from PIL import Image

from data_shards.augmentation.config import Augmentation
from data_shards.augmentation.crops import Crops, training_crops
from data_shards.decoding import dali as dali_reader
from data_shards.decoding.python import decode
from data_shards.loading.loader import DataConfig, EvaluationLoader, TrainLoader
from data_shards.randomness import Draws
from data_shards.store.image_format import encode_png
from data_shards.store.index import INDEX_DTYPE, open_split

pytestmark = pytest.mark.skipif(not dali_reader.installed(), reason="needs NVIDIA DALI: pip install '.[dali]'")

RANDOM = Augmentation(crop="random_resized", flip=True, colour_jitter=(0.4, 0.4, 0.4, 0.1), mixup=0.2)
PADDED = Augmentation(crop="padded", padding=4, flip=True)


def photo(height, width, generator):
    """Noise whose amplitude falls with frequency as it does in photographs: they have no more detail."""
    spectrum = np.fft.rfft2(generator.standard_normal((height, width, 3)), axes=(0, 1))
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = 1 / max(height, width)
    image = np.fft.irfft2(spectrum / frequency[..., None], (height, width), axes=(0, 1))
    return np.clip(127 + 50 * (image - image.mean()) / image.std(), 0, 255).astype(np.uint8)


def as_jpeg(image):
    return simplejpeg.encode_jpeg(image, quality=90)


def as_grey_jpeg(image):
    return simplejpeg.encode_jpeg(image[:, :, :1].copy(), quality=90, colorspace="GRAY", colorsubsampling="Gray")


def as_turned_jpeg(image):
    """The JPEG with an EXIF entry that asks viewers to turn it by 90°."""
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=90, exif=exif)
    return file.getvalue()


class Pictures:
    """In place of a Split: images of sizes from `side` to 1.25 × `side` pixels, in memory."""

    def __init__(self, side, encode=as_jpeg, samples=24):
        generator = np.random.default_rng(side)
        sizes = generator.integers(side, side + side // 4 + 1, (samples, 2)).tolist()
        self.files = [encode(photo(*size, generator)) for size in sizes]
        self.index = np.zeros(samples, INDEX_DTYPE)
        self.index["height"], self.index["width"] = np.array(sizes).T

    def read(self, sample):
        return self.files[sample]

    def crops(self, augmentation, resolution):
        ids = np.arange(len(self.files))
        heights, widths = self.index["height"], self.index["width"]
        return ids, training_crops(augmentation, Draws(1, 0, ids), heights, widths, resolution)


def read(pictures, *requests, beyond_border=False):
    """The images, through DALI."""
    batches = dali_reader.read_batches(pictures, requests, 24, threads=1, prefetch=2, beyond_border=beyond_border)
    return [images.cpu().numpy() for images in batches]


def difference(pictures, ids, what, images):
    """Difference, in grey levels, between DALI's images and the Python reader's: [B, resolution, resolution, 3]."""
    windows = zip(ids, what.windows, what.flips, strict=True)
    ours = [decode(pictures.files[sample], window, flip, what.resolution) for sample, window, flip in windows]
    return np.abs(images.astype(int) - np.stack(ours))


def config(root, reader="dali", augmentation=RANDOM, workers=2, **keys):
    return DataConfig(shards=root, augmentation=augmentation, reader=reader, workers=workers, **keys)


def train(root, reader="dali", augmentation=RANDOM, resolution=32, rank=0, world=1, start=0, end=12):
    split = open_split(root, "train")
    return TrainLoader(split, config(root, reader, augmentation), resolution, 24, 7, rank, world, start, end)


def same(ours, theirs):
    return len(ours) == len(theirs) and all(
        torch.equal(a, b) for x, y in zip(ours, theirs, strict=True) for a, b in zip(x, y, strict=True)
    )


@pytest.mark.parametrize(
    ("side", "resolution", "mean", "largest"),
    [
        (64, 32, 3.0, 60), (64, 64, 0.5, 20), (64, 160, 0.2, 1), (64, 224, 0.2, 1),
        (128, 32, 3.5, 60), (128, 64, 2.8, 60), (128, 160, 0.2, 1), (128, 224, 0.2, 1),
        (256, 32, 3.5, 60), (256, 64, 3.5, 60), (256, 160, 2.0, 60), (256, 224, 0.6, 30),
        (512, 32, 3.5, 60), (512, 64, 3.5, 60), (512, 160, 3.5, 60), (512, 224, 3.0, 60),
    ],
)  # fmt: skip
def test_random_crops_look_as_the_python_reader_shows_them(side, resolution, mean, largest):
    pictures = Pictures(side)
    ids, what = pictures.crops(RANDOM, resolution)
    (images,) = read(pictures, (ids, what))
    error = difference(pictures, ids, what, images)
    assert what.flips.any()
    assert not what.flips.all()
    assert error.mean() < mean
    assert error.max() <= largest


@pytest.mark.parametrize("encode", [encode_png, as_grey_jpeg, as_turned_jpeg])
@pytest.mark.parametrize(("resolution", "mean", "largest"), [(48, 3.5, 60), (96, 1.5, 60), (224, 0.2, 1)])
def test_whatever_shards_hold_looks_the_same(encode, resolution, mean, largest):
    pictures = Pictures(128, encode)
    ids, what = pictures.crops(RANDOM, resolution)
    (images,) = read(pictures, (ids, what))
    error = difference(pictures, ids, what, images)
    assert error.mean() < mean
    assert error.max() <= largest


def test_padded_crops_of_small_pngs_are_the_same_to_the_bit():
    pictures = Pictures(32, encode_png)
    pictures.files = [encode_png(photo(32, 32, np.random.default_rng(sample))) for sample in range(24)]
    pictures.index["height"] = pictures.index["width"] = 32
    ids, what = pictures.crops(PADDED, 32)
    (images,) = read(pictures, (ids, what), beyond_border=True)
    assert np.ptp(what.windows[:, 0]) == 8
    assert difference(pictures, ids, what, images).max() == 0


def test_a_crop_that_is_a_pixel_off_would_be_seen():
    pictures = Pictures(256)
    ids, what = pictures.crops(RANDOM, 224)
    (images,) = read(pictures, (ids, what))
    moved = Crops(np.maximum(what.windows - [[1, 0, 0, 0]], 0), what.flips, 224)
    assert difference(pictures, ids, moved, images).mean() > 3 * difference(pictures, ids, what, images).mean()


def test_a_window_of_the_resolution_is_cut_out_unchanged_and_mirrored():
    pictures = Pictures(64)
    windows = np.tile(np.int32([7, 5, 40, 40]), (24, 1))
    what = Crops(windows, np.arange(24) % 2 == 1, 40)
    (images,) = read(pictures, (np.arange(24), what))
    assert difference(pictures, range(24), what, images).max() <= 1


def test_beyond_the_border_the_image_is_reflected():
    pictures = Pictures(64)
    ids = np.arange(8)
    shifts = np.int32([[-9, -9], [9, 9], [-9, 4], [0, 9], [-9, 0], [0, 0], [1, -2], [9, -9]])
    heights, widths = pictures.index["height"][:8].astype(int), pictures.index["width"][:8].astype(int)
    whole = np.stack([np.zeros(8), np.zeros(8), widths, heights], axis=1).astype(np.int32)
    whole[:, :2] += shifts
    for resolution, largest in ((64, 20), (100, 2)):
        what = Crops(whole, shifts[:, 0] < 0, resolution)
        (images,) = read(pictures, (ids, what), beyond_border=True)
        assert difference(pictures, ids, what, images).max() <= largest


def test_one_pipeline_gives_one_resolution_after_another():
    pictures = Pictures(128)
    requests = [pictures.crops(RANDOM, resolution) for resolution in (64, 224, 32, 160, 64)]
    batches = read(pictures, *requests)
    assert [images.shape for images in batches] == [(24, side, side, 3) for side in (64, 224, 32, 160, 64)]
    for request, images in zip(requests, batches, strict=True):
        assert difference(pictures, *request, images).mean() < 4.5
    assert (batches[0] == batches[4]).all()


@pytest.mark.parametrize("augmentation", [RANDOM, PADDED])
def test_training_shows_the_same_samples_and_crops_as_with_the_python_reader(digits100_root, augmentation):
    pythons = list(train(digits100_root, "python", augmentation))
    loader = train(digits100_root, "dali", augmentation)
    dalis = list(loader)
    assert loader.sampler.steps_per_epoch == 6
    assert len(dalis) == len(loader) == 12, "two epochs"
    for ours, theirs in zip(dalis, pythons, strict=True):
        assert torch.equal(ours.ids, theirs.ids)
        assert torch.equal(ours.labels, theirs.labels)
        assert torch.equal(ours.draws, theirs.draws)
        assert ours.images.dtype == torch.uint8
        assert (ours.images.cpu().int() - theirs.images.int()).abs().max() <= 1  # nothing is shrunk to 32 px


@pytest.mark.parametrize("start", [1, 7, 12])
@pytest.mark.parametrize("world", [1, 2])
def test_a_restart_at_a_step_gives_the_rest_of_the_whole(digits100_root, start, world):
    sides = [16, 24, 32, 40]

    def resolution(step):
        return sides[step % 4]

    whole = list(train(digits100_root, resolution=resolution))
    shares = [
        list(train(digits100_root, resolution=resolution, rank=rank, world=world, start=start)) for rank in range(world)
    ]
    together = [
        tuple(torch.cat(parts) for parts in zip(*batches, strict=True)) for batches in zip(*shares, strict=True)
    ]
    assert same(together, whole[start:])


def test_batches_stay_as_they_are_while_others_are_read(digits100_root):
    batches = iter(train(digits100_root))
    first = next(batches)
    copy = first.images.clone()
    for _ in batches:
        pass
    assert torch.equal(first.images, copy)


def test_a_loader_left_in_the_middle_can_be_iterated_again(digits100_root):
    loader = train(digits100_root)
    batches = iter(loader)
    first = next(batches)
    batches.close()
    assert torch.equal(next(iter(loader)).images, first.images)
    assert loader.wait_seconds > 0


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("batch", [7, 20, 100])
def test_evaluation_sees_each_sample_once_over_all_ranks(digits100_root, world, batch):
    split = open_split(digits100_root, "test")
    shares = [list(EvaluationLoader(split, config(digits100_root), 24, batch, rank, world)) for rank in range(world)]
    pythons = [
        list(EvaluationLoader(split, config(digits100_root, "python", workers=0), 24, batch, rank, world))
        for rank in range(world)
    ]
    seen = torch.cat([one.ids for share in shares for one in share])
    assert sorted(seen.tolist()) == list(range(60))
    for share, expected in zip(shares, pythons, strict=True):
        for ours, theirs in zip(share, expected, strict=True):
            assert torch.equal(ours.ids, theirs.ids)
            assert torch.equal(ours.labels, theirs.labels)
            assert (ours.images.cpu().int() - theirs.images.int()).abs().float().mean() < 2


def test_with_fewer_samples_than_ranks_some_batches_are_empty(digits100_root):
    split = open_split(digits100_root, "test")
    batches = [list(EvaluationLoader(split, config(digits100_root), 32, 8, rank, 3, ids=[4])) for rank in range(3)]
    assert [[len(batch.ids) for batch in share] for share in batches] == [[1], [0], [0]]
    assert batches[1][0].images.shape == (0, 32, 32, 3)
    assert list(EvaluationLoader(split, config(digits100_root), 32, 8, 0, 1, ids=[])) == []


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_the_images_stay_there_and_look_the_same():
    pictures = Pictures(256)
    ids, what = pictures.crops(RANDOM, 224)
    (images,) = dali_reader.read_batches(pictures, [(ids, what)], 24, 1, 2, beyond_border=False)
    assert images.device == torch.device("cuda", torch.cuda.current_device())
    assert difference(pictures, ids, what, images.cpu().numpy()).mean() < 2
