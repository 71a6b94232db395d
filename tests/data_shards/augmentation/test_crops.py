"""Crops and flips: a pure function of seed, epoch and sample, with the stated laws; centre squares for evaluation."""

import numpy as np
import pytest
from pydantic import ValidationError

from data_shards.augmentation.config import Augmentation
from data_shards.augmentation.crops import evaluation_crops, training_crops
from data_shards.randomness import Draws

RANDOM = Augmentation(crop="random_resized", flip=True)
PADDED = Augmentation(crop="padded", padding=4, flip=True)


def sizes(samples, seed=0):
    generator = np.random.default_rng(seed)
    return generator.integers(20, 500, (2, samples))


@pytest.mark.parametrize("augmentation", [RANDOM, PADDED, Augmentation()])
def test_a_sample_gets_the_same_crop_in_any_batch(augmentation):
    ids = np.random.default_rng(1).permutation(300)
    heights, widths = sizes(300)
    whole = training_crops(augmentation, Draws(5, 2, ids), heights, widths, 32)
    order = np.random.default_rng(2).permutation(300)[:40]
    part = training_crops(augmentation, Draws(5, 2, ids[order]), heights[order], widths[order], 32)
    assert (part.windows == whole.windows[order]).all()
    assert (part.flips == whole.flips[order]).all()
    alone = training_crops(augmentation, Draws(5, 2, ids[7:8]), heights[7:8], widths[7:8], 32)
    assert (alone.windows[0] == whole.windows[7]).all()


@pytest.mark.parametrize("augmentation", [RANDOM, PADDED])
@pytest.mark.parametrize(("seed", "epoch"), [(6, 2), (5, 3)])
def test_another_seed_or_epoch_gives_other_crops(augmentation, seed, epoch):
    ids, (heights, widths) = np.arange(500), np.full((2, 500), 200)
    one = training_crops(augmentation, Draws(5, 2, ids), heights, widths, 32)
    other = training_crops(augmentation, Draws(seed, epoch, ids), heights, widths, 32)
    assert (one.windows == other.windows).all(axis=1).mean() < 0.1
    assert 0.4 < (one.flips == other.flips).mean() < 0.6


@pytest.mark.parametrize("augmentation", [RANDOM, PADDED])
def test_each_part_of_a_crop_is_drawn_anew_in_each_epoch(augmentation):
    ids, (heights, widths) = np.arange(2000), np.full((2, 2000), 1000)
    parts = []
    for epoch in (0, 1):
        x, y, w, h = training_crops(augmentation, Draws(5, epoch, ids), heights, widths, 32).windows.T
        room = np.maximum(1000 - w, 1), np.maximum(1000 - h, 1)
        parts.append([x / room[0], y / room[1]] + ([w * h, w / h] if augmentation is RANDOM else []))
    for one, other in zip(*parts, strict=True):
        assert abs(np.corrcoef(one, other)[0, 1]) < 0.1
    between = np.corrcoef(parts[0]) - np.eye(len(parts[0]))
    assert np.abs(between[:2, :2]).max() < 0.1, "place across and place down are independent"


def test_padded_crops_fall_on_every_shift_equally_often():
    ids = np.arange(81 * 200)
    crops = training_crops(PADDED, Draws(0, 0, ids), np.full(len(ids), 32), np.full(len(ids), 32), 32)
    windows, flips = crops.windows, crops.flips
    assert (windows[:, 2:] == 32).all()
    assert windows[:, :2].min() == -4
    assert windows[:, :2].max() == 4
    per_shift = np.bincount((windows[:, 0] + 4) * 9 + windows[:, 1] + 4, minlength=81)
    assert 130 < per_shift.min() <= per_shift.max() < 270
    assert abs(flips.mean() - 0.5) < 0.02


def test_random_resized_crops_have_the_stated_areas_and_aspects():
    n = 4000
    augmentation = Augmentation(crop="random_resized", scale=(0.2, 0.9), ratio=(0.5, 2.0))
    windows = training_crops(augmentation, Draws(0, 0, np.arange(n)), np.full(n, 400), np.full(n, 400), 32).windows
    x, y, w, h = windows.T
    assert ((x >= 0) & (y >= 0) & (x + w <= 400) & (y + h <= 400)).all()
    area, ratio = w * h / 400**2, w / h
    assert 0.19 < area.min() < 0.22
    assert 0.85 < area.max() < 0.91
    assert ratio.min() > 0.49
    assert ratio.max() < 2.01
    assert abs(np.median(np.log(ratio))) < 0.05, "wide and tall equally often"
    # Large windows often do not fit and are drawn again: large areas are rarer than small ones, but not absent.
    assert 0.35 < (area < 0.5).mean() < 0.65
    free = (400 - w) > 50
    assert abs((x / np.maximum(400 - w, 1))[free].mean() - 0.5) < 0.02


def test_an_image_too_elongated_for_any_crop_shows_its_centre():
    windows = training_crops(RANDOM, Draws(0, 0, np.arange(50)), np.full(50, 10), np.full(50, 1000), 32).windows
    assert (windows[:, 2] <= 14).all()
    squares = Augmentation(crop="random_resized", scale=(1.0, 1.0), ratio=(1.0, 1.0))
    heights, widths = np.array([10, 1000, 20]), np.array([1000, 10, 20])
    fallback = training_crops(squares, Draws(0, 0, np.arange(3)), heights, widths, 32).windows
    assert fallback.tolist() == [[495, 0, 10, 10], [0, 495, 10, 10], [0, 0, 20, 20]]


def test_without_augmentation_the_centre_square_is_shown():
    what = training_crops(Augmentation(), Draws(0, 0, np.arange(2)), np.array([32, 100]), np.array([32, 60]), 32)
    assert what.windows.tolist() == [[0, 0, 32, 32], [0, 20, 60, 60]]
    assert not what.flips.any()


def test_evaluation_cuts_the_centre_of_the_resized_image():
    what = evaluation_crops(np.array([32, 480]), np.array([32, 640]), 224, crop=0.875)
    assert what.windows.tolist() == [[2, 2, 28, 28], [110, 30, 420, 420]]
    assert evaluation_crops(np.array([32]), np.array([32]), 32).windows.tolist() == [[0, 0, 32, 32]]


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ({"crop": "random"}, "crop"),
        ({"crops": "none"}, "crops"),
        ({"auto_augment": "cifar"}, "auto_augment"),
        ({"padding": -1}, "padding"),
        ({"scale": [0.5, 0.1]}, "scale"),
        ({"scale": [0.5, 1.5]}, "scale"),
        ({"ratio": [0, 1]}, "ratio"),
        ({"ratio": [1, float("inf")]}, "ratio"),
        ({"colour_jitter": [0.4, 0.4, 0.4]}, "colour_jitter"),
        ({"colour_jitter": [0.4, 0.4, 1.4, 0.1]}, "colour_jitter"),
        ({"colour_jitter": [0.4, 0.4, 0.4, 0.6]}, "colour_jitter"),
        ({"colour_jitter": [0.4, 0.4, float("nan"), 0.1]}, "colour_jitter"),
        ({"random_erasing": 0.2}, "random_erasing"),
        ({"random_erasing": {"probability": 1.2}}, "probability"),
        ({"random_erasing": {"area": [0.0, 0.5]}}, "area"),
        ({"random_erasing": {"aspect": [2, 1]}}, "aspect"),
        ({"random_erasing": {"fill": "noise"}}, "fill"),
        ({"mixup": -0.1}, "mixup"),
        ({"cutmix": float("inf")}, "cutmix"),
        ({"mix_probability": 2}, "mix_probability"),
    ],
)
def test_a_wrong_recipe_key_is_named(keys, named):
    with pytest.raises(ValidationError, match=named):
        Augmentation(**keys)
