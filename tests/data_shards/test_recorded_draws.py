"""What was drawn for earlier runs and data sets is drawn for them again, figure by figure.

`recorded_draws.json` was written with the code of November 2026, and never changes: runs that were begun with it go on.
"""

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from data_shards.augmentation.auto_augment import draw_auto_augment
from data_shards.augmentation.config import Augmentation, RandomErasing
from data_shards.augmentation.crops import training_crops
from data_shards.augmentation.draws import draw_for_device
from data_shards.loading.substitution import candidates
from data_shards.looking.sheet import spread_over_classes
from data_shards.randomness import Draws
from data_shards.sampler import EpochSampler
from data_shards.sources.cifar import Cifar
from data_shards.sources.digits import split_digits
from data_shards.sources.digits100 import Digits100
from data_shards.sources.folder import folder
from data_shards.sources.image_file import Preparation
from data_shards.streaming.sampler import StreamSampler

RECORDED = json.loads(Path(__file__).with_name("recorded_draws.json").read_text(encoding="utf-8"))

IDS = np.array([0, 7, 3, 1_281_166, 12, 5, 99_999, 42])
DRAWS = Draws(7, 3, IDS)
HEIGHTS, WIDTHS = np.array([375, 32, 500, 10, 213, 96, 375, 480]), np.array([500, 32, 375, 1000, 320, 96, 500, 640])
RANDOM = Augmentation(crop="random_resized", flip=True)
PADDED = Augmentation(crop="padded", padding=6, flip=True)
JITTER = Augmentation(colour_jitter=(0.4, 0.3, 0.2, 0.1))
ERASING = Augmentation(random_erasing=RandomErasing(probability=0.6, fill="colour"))
MIXING = Augmentation(mixup=0.4, cutmix=1.0, mix_probability=0.8)


def crops(augmentation):
    return training_crops(augmentation, DRAWS, HEIGHTS, WIDTHS, 160)


def auto_augment():
    return np.stack([np.stack([*draw_auto_augment(policy, DRAWS)[1:]]) for policy in ("imagenet", "cifar10")])


def sub_policies():
    return np.stack([draw_auto_augment(policy, DRAWS).sub_policy for policy in ("imagenet", "cifar10")])


def for_device(augmentation):
    return draw_for_device(augmentation, DRAWS, 160)


def orders(sampler):
    return np.concatenate([sampler.ids(step) for step in (0, 1, 2 * sampler.steps_per_epoch)])


def streamed():
    return StreamSampler(200, 20, 7, shards=(60, 50, 90), world=2, streams=1, block=16)


def digest(array):
    return np.frombuffer(hashlib.sha256(np.ascontiguousarray(array).tobytes()).digest(), np.int64)


def large_order():
    """Of more samples than are drawn at a time."""
    return digest(EpochSampler(150_000, 150_000, 7).ids(1).astype("<i8"))


def held_out_digits():
    return split_digits()["test"]


def digits100():
    return Digits100(train=40, test=30, seed=5)


def digits100_pixels():
    images = [digits100().draw(split, np.arange(6)) for split in ("train", "test")]
    return np.concatenate(images)[:, ::8, ::8]


def chosen_for_a_sheet(images):
    class Classes:
        num_classes = 30
        labels = np.arange(200) % 30

        def __len__(self):
            return 200

    return spread_over_classes(Classes(), images)


# What is drawn from the data set's own seed is told by the order in which images are packed.


def listed(root):
    for split in ("train", "test"):
        for label in ("cat", "dog"):
            (root / split / label).mkdir(parents=True)
            for number in range(6):
                cv2.imwrite(str(root / split / label / f"{number}.png"), np.full((1, 1, 3), number, np.uint8))
    source = folder(root, Preparation(), seed=5)
    return np.array([labelled(sample) for sample in source.samples("train", np.arange(12))])


def cifar(root):
    names = [f"data_batch_{number}.bin" for number in range(1, 6)] + ["test_batch.bin"]
    records = np.zeros((6, 10, 3073), np.uint8)
    records[:, :, 0] = np.arange(10)
    records[:, :, 1:] = np.arange(6)[:, None, None]
    for name, batch in zip(names, records, strict=True):
        (root / name).write_bytes(batch.tobytes())
    (root / "batches.meta.txt").write_text("\n".join(f"class{label}" for label in range(10)), encoding="utf-8")
    return np.array([labelled(sample) for sample in Cifar("cifar10", root, seed=5).samples("train", np.arange(50))])


def labelled(sample):
    """Its label, and the grey that its image is filled with."""
    return sample.label, int(cv2.imdecode(np.frombuffer(sample.encoded, np.uint8), cv2.IMREAD_GRAYSCALE)[0, 0])


DRAWN = {
    "random resized crops": lambda: crops(RANDOM).windows,
    "padded crops": lambda: crops(PADDED).windows,
    "flips": lambda: crops(RANDOM).flips,
    "sub-policies": sub_policies,
    "operations applied, and their side": auto_augment,
    "jitter": lambda: for_device(JITTER),
    "erasing": lambda: for_device(ERASING),
    "mixup and cutmix": lambda: for_device(MIXING),
    "order of samples": lambda: orders(EpochSampler(100, 30, 7)),
    "order of many samples": large_order,
    "order of streams": lambda: orders(streamed()),
    "substitutes": lambda: np.array(candidates(7, 3, 1234, 50_000)),
    "held-out digits": held_out_digits,
    "digits100's labels": lambda: digits100().labels["test"],
    "digits100's scans": lambda: digits100().scans("train", np.arange(40)),
    "digits100's pixels": digits100_pixels,
    "images of a sheet": lambda: chosen_for_a_sheet(60),
    "classes of a sheet": lambda: chosen_for_a_sheet(8),
}
PACKED = {"listed files": listed, "cifar": cifar}


def test_all_that_was_recorded_is_compared():
    assert RECORDED.keys() == DRAWN.keys() | PACKED.keys()


@pytest.mark.parametrize("what", DRAWN)
def test_what_was_drawn_is_drawn_again(what):
    compare(DRAWN[what](), RECORDED[what])


@pytest.mark.parametrize("what", PACKED)
def test_what_was_packed_is_packed_again(what, tmp_path):
    compare(PACKED[what](tmp_path), RECORDED[what])


def compare(drawn, recorded):
    wanted = np.array(recorded)
    assert drawn.shape == wanted.shape
    if drawn.dtype.kind == "f":  # sines and powers may differ in the last bit between processors
        np.testing.assert_allclose(drawn, wanted, rtol=1e-6, atol=1e-6)
    elif drawn.dtype == np.uint8:  # and what OpenCV interpolates by a grey level
        np.testing.assert_allclose(drawn, wanted, atol=1)
    else:
        assert drawn.tolist() == recorded
