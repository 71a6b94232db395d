"""`digits` and `digits100`: fixed splits, balanced classes, images that depend on seed, split and position alone."""

import cv2
import numpy as np
import pytest
import simplejpeg
from sklearn.datasets import load_digits

from data_shards.errors import ShardUsageError
from data_shards.sources.digits import Digits, split_digits
from data_shards.sources.digits100 import Digits100


def image(sample):
    return simplejpeg.decode_jpeg(sample.encoded)


def test_a_fifth_of_each_digit_is_held_out():
    splits, labels = split_digits(), load_digits().target
    assert sorted(np.concatenate([splits["train"], splits["test"]])) == list(range(1797))
    shares = np.bincount(labels[splits["test"]]) / np.bincount(labels)
    assert shares.min() > 0.19
    assert shares.max() < 0.21


def test_the_held_out_digits_are_always_the_same():
    # A recorded accuracy refers to this split.
    assert split_digits()["test"][:8].tolist() == [2, 11, 26, 33, 45, 50, 53, 62]


def test_a_digit_image_is_the_scan_enlarged():
    scans = load_digits()
    positions = split_digits()["test"]
    for sample, position in zip(Digits().samples("test", np.arange(50)), positions, strict=False):
        assert sample.label == scans.target[position]
        shrunk = cv2.resize(image(sample), (8, 8), interpolation=cv2.INTER_AREA)
        assert np.corrcoef(shrunk[:, :, 0].ravel(), scans.images[position].ravel())[0, 1] > 0.98


def test_training_and_test_images_share_no_scan():
    source, splits = Digits100(train=2000, test=2000), split_digits()
    for split in ("train", "test"):
        used = source.scans(split, np.arange(2000))
        assert set(used.ravel()) <= set(splits[split])
    assert not set(splits["train"]) & set(splits["test"])


def test_the_label_is_what_the_scans_show():
    source, targets = Digits100(train=500, test=10), load_digits().target
    left, right = targets[source.scans("train", np.arange(500))].T
    assert (10 * left + right == source.labels["train"]).all()


@pytest.mark.parametrize("samples", [100, 1000, 1037])
def test_each_class_occurs_equally_often(samples):
    counts = np.bincount(Digits100(train=samples, test=1).labels["train"], minlength=100)
    assert counts.max() - counts.min() <= 1
    assert counts.sum() == samples


def test_classes_come_in_random_order():
    labels = Digits100(train=1000, test=1).labels["train"]
    assert len(set(labels[:100])) < 80, "a tar read in sequence is mixed already"


def test_an_image_does_not_depend_on_the_range_it_is_drawn_in():
    source = Digits100(train=600, test=10, seed=5)
    whole = list(source.samples("train", np.arange(600)))
    assert list(source.samples("train", np.arange(313, 317))) == whole[313:317]
    assert list(Digits100(train=600, test=10, seed=5).samples("train", np.array([599]))) == whole[599:]


def test_seeds_and_splits_give_other_images():
    one = next(Digits100(train=10, test=10, seed=0).samples("train", np.array([0])))
    assert one.encoded != next(Digits100(train=10, test=10, seed=1).samples("train", np.array([0]))).encoded
    assert one.encoded != next(Digits100(train=10, test=10, seed=0).samples("test", np.array([0]))).encoded


def test_digits_stand_out_from_their_background():
    source = Digits100(train=400, test=10)
    positions = np.arange(400)
    images, ink = source.draw("train", positions) / 255, source._ink("train", positions).max(axis=1)
    for picture, alpha in zip(images, ink, strict=True):
        digits, background = picture[alpha > 0.9].mean(axis=0), picture[alpha == 0].mean(axis=0)
        assert np.abs(digits - background).mean() > 0.15


@pytest.mark.parametrize("size", [0, -5])
def test_an_empty_split_is_refused(size):
    with pytest.raises(ShardUsageError, match=f"train: {size} is not"):
        Digits100(train=size)
