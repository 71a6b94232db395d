"""What is drawn for the device: a pure function of seed, epoch and sample (for mixing: pair), with the stated laws."""

import numpy as np
import pytest

from data_shards.augmentation.colour import MEAN_COLOUR
from data_shards.augmentation.config import Augmentation, RandomErasing
from data_shards.augmentation.draws import (
    BLEND,
    COLUMNS,
    ERASED,
    FILL,
    GREY,
    LABEL_SHARE,
    MATRIX,
    PASTED,
    draw_for_device,
)
from data_shards.randomness import Draws

JITTER = Augmentation(colour_jitter=(0.4, 0.3, 0.2, 0.1))
ERASING = Augmentation(random_erasing=RandomErasing(probability=0.3, fill="colour"))
MIXING = Augmentation(mixup=0.4, cutmix=1.0)
ALL = Augmentation(colour_jitter=JITTER.colour_jitter, random_erasing=ERASING.random_erasing, mixup=0.4, cutmix=1.0)
WIDE = [slice(0, 12), slice(12, 19), slice(19, 25)]  # jitter's, erasing's and mixing's columns


def draws(augmentation, n=20_000, seed=3, epoch=1, resolution=160):
    return draw_for_device(augmentation, Draws(seed, epoch, np.arange(n)), resolution).astype(float)


@pytest.mark.parametrize("augmentation", [JITTER, ERASING, MIXING, ALL])
def test_a_pair_gets_the_same_row_in_any_batch(augmentation):
    ids = np.random.default_rng(0).permutation(600)
    whole = draw_for_device(augmentation, Draws(5, 2, ids), 32)
    assert whole.dtype == np.float32
    assert whole.shape == (600, COLUMNS)
    assert (draw_for_device(augmentation, Draws(5, 2, ids[100:140]), 32) == whole[100:140]).all()
    pairs = ids.reshape(-1, 2)[::-1]  # in another order, partners side by side
    expected = whole.reshape(300, 2, COLUMNS)[::-1].reshape(600, COLUMNS)
    assert (draw_for_device(augmentation, Draws(5, 2, pairs.ravel()), 32) == expected).all()


def test_without_mixing_a_sample_gets_the_same_row_alone():
    augmentation = ALL.model_copy(update={"mixup": 0.0, "cutmix": 0.0})
    ids = np.arange(50)
    whole = draw_for_device(augmentation, Draws(5, 2, ids), 32)
    for sample in (0, 7, 49):
        assert (draw_for_device(augmentation, Draws(5, 2, ids[sample : sample + 1]), 32)[0] == whole[sample]).all()


@pytest.mark.parametrize(("seed", "epoch"), [(4, 1), (3, 2)])
def test_another_seed_or_epoch_gives_other_rows(seed, epoch):
    one, other = draws(ALL, 1000), draws(ALL, 1000, seed, epoch)
    for part in (slice(0, 12), FILL, LABEL_SHARE):
        assert (one[:, part] == other[:, part]).all(axis=1).mean() < 0.02
    erased = one[:, 15] > 0, other[:, 15] > 0
    assert abs(np.corrcoef(*erased)[0, 1]) < 0.1


def test_another_partner_gives_another_mixture_and_nothing_else():
    one, other = (draw_for_device(ALL, Draws(3, 1, np.array([8, partner])), 160)[0] for partner in (9, 10))
    assert one[LABEL_SHARE] != other[LABEL_SHARE]
    assert (one[:19] == other[:19]).all()


@pytest.mark.parametrize("on", range(3))
def test_what_is_off_changes_nothing(on):
    rows = draws([JITTER, ERASING, MIXING][on], 100)
    neutral = np.zeros(COLUMNS)
    neutral[[0, 4, 8, 19, 24]] = 1  # unit matrix, own share in pixels and label
    for number, part in enumerate(WIDE):
        assert (rows[:, part] == neutral[part]).all() == (number != on)


def test_with_nothing_for_the_device_there_are_no_columns():
    padded = Augmentation(crop="padded", flip=True, auto_augment="cifar10")
    assert draw_for_device(padded, Draws(0, 0, np.arange(5)), 32).shape == (5, 0)
    never = Augmentation(mixup=0.2, mix_probability=0.0)
    assert draw_for_device(never, Draws(0, 0, np.arange(5)), 32).shape == (5, 0)


def test_jitter_draws_each_factor_evenly_and_independently():
    rows = draws(JITTER)
    matrix, grey = rows[:, MATRIX].reshape(-1, 3, 3), rows[:, GREY].sum(axis=1)
    gain = matrix.sum(axis=2)  # what becomes of a grey: brightness · contrast in each channel
    np.testing.assert_allclose(gain, gain[:, :1].repeat(3, 1), atol=1e-4)
    brightness = gain[:, 0] + grey
    contrast = gain[:, 0] / brightness
    chroma = (np.trace(matrix, axis1=1, axis2=2) - gain[:, 0]) / (2 * gain[:, 0])  # saturation · cos(hue)
    for factor, stray in ((brightness, 0.4), (contrast, 0.3)):
        assert 1 - stray - 1e-4 < factor.min() < 1 - stray + 0.01
        assert 1 + stray - 0.01 < factor.max() < 1 + stray + 1e-4
        shares = np.histogram(factor, bins=10, range=(1 - stray, 1 + stray))[0] / len(factor)
        assert 0.085 < shares.min() <= shares.max() < 0.115
    assert 0.8 * np.cos(0.2 * np.pi) - 0.01 < chroma.min() < 0.7
    assert 1.19 < chroma.max() < 1.2 + 1e-4
    assert np.abs(np.corrcoef([brightness, contrast, chroma]) - np.eye(3)).max() < 0.03


def test_erasing_has_the_stated_odds_areas_aspects_and_places():
    rows = draws(ERASING)
    x, y, w, h = rows[:, ERASED].T
    erased = w > 0
    assert abs(erased.mean() - 0.3) < 0.012
    assert (h[~erased] == 0).all()
    x, y, w, h = (part[erased] for part in (x, y, w, h))
    assert (np.stack([x, y]) >= 0).all()
    assert (np.stack([x + w, y + h]) <= 160).all()
    area, aspect = w * h / 160**2, w / h
    assert 0.018 < area.min() < 0.025
    assert 0.31 < area.max() < 0.34
    assert 0.28 < aspect.min() < 0.32
    assert 3.1 < aspect.max() < 3.5
    assert abs(np.log(aspect).mean()) < 0.03
    # Small rectangles always fit, and their areas are uniform; of large ones the elongated ones are drawn again.
    small = area[area < 0.2]
    assert abs(np.median(small) - 0.11) < 0.006
    for place, room in ((x, 160 - w), (y, 160 - h)):
        assert abs((place / np.maximum(room, 1))[room > 20].mean() - 0.5) < 0.02
    fill = rows[:, FILL]
    assert 0 <= fill.min() < 1
    assert 254 < fill.max() <= 255
    assert np.abs(np.corrcoef(fill.T) - np.eye(3)).max() < 0.03


def test_the_mean_fills_by_default():
    rows = draws(Augmentation(random_erasing=RandomErasing(probability=1)), 50)
    np.testing.assert_allclose(rows[:, FILL], np.tile(MEAN_COLOUR, (50, 1)), rtol=1e-6)


def test_a_rectangle_that_never_fits_is_not_painted():
    impossible = RandomErasing(probability=1, area=(0.9, 1.0), aspect=(4, 5))
    assert (draws(Augmentation(random_erasing=impossible), 200)[:, ERASED] == 0).all()


def test_at_another_resolution_the_same_is_drawn_to_scale():
    small, large = draws(ALL, 2000, resolution=128), draws(ALL, 2000, resolution=224)
    for part in (slice(0, 12), FILL, BLEND):
        assert (small[:, part] == large[:, part]).all()
    for part in (ERASED, PASTED):
        assert ((small[:, part] > 0).any(axis=1) == (large[:, part] > 0).any(axis=1)).mean() > 0.99
        apart = np.abs(small[:, part] / 128 - large[:, part] / 224).max(axis=1)
        assert (apart < 0.02).mean() > 0.98, "but for rounding, and what no longer fits by it"


@pytest.mark.parametrize("alpha", [0.1, 0.4, 1.0, 3.0])
def test_mixup_shares_follow_beta(alpha):
    rows = draws(Augmentation(mixup=alpha))
    share = rows[::2, BLEND][:, 0]
    assert (rows[:, PASTED] == 0).all()
    assert (rows[:, BLEND] == rows[:, LABEL_SHARE]).all()
    expected = np.random.default_rng(0).beta(alpha, alpha, 100_000)
    for quantile in (0.1, 0.25, 0.5, 0.75, 0.9):
        assert abs((share <= np.quantile(expected, quantile)).mean() - quantile) < 0.02
    assert abs(share.var() - 1 / (4 * (2 * alpha + 1))) < 0.01


def test_cutmix_pastes_the_area_that_the_label_counts():
    rows = draws(Augmentation(cutmix=1.0))
    x, y, w, h = rows[:, PASTED].T
    assert (rows[:, BLEND] == 1).all()
    np.testing.assert_allclose(rows[:, LABEL_SHARE][:, 0], 1 - w * h / 160**2, atol=1e-6)
    assert (np.stack([x, y]) >= 0).all()
    assert (np.stack([x + w, y + h]) <= 160).all()
    inside = (x > 0) & (y > 0) & (x + w < 160) & (y + h < 160)
    assert (np.abs(w - h) <= 1)[inside].all(), "square, but for what falls outside"
    # With α = 1 areas are uniform before they are cut off at the border; a side s fits with probability (1 - s)², which
    # is one sixth on average.
    assert abs(inside.mean() - 1 / 6) < 0.015
    assert abs((x + w / 2).mean() - 80) < 1.5


@pytest.mark.parametrize("augmentation", [Augmentation(mixup=0.8), Augmentation(cutmix=0.8), MIXING])
def test_partners_share_one_draw_so_that_no_sample_is_lost(augmentation):
    rows = draws(augmentation, 1000)[:, 19:].reshape(500, 2, -1)
    assert (rows[:, 0] == rows[:, 1]).all()


def test_of_two_ways_to_mix_each_pair_gets_one_with_even_odds():
    rows = draws(Augmentation(mixup=1.0, cutmix=1.0, mix_probability=0.6))
    cut, blended = rows[:, PASTED.stop - 1] > 0, rows[:, BLEND][:, 0] < 1
    assert not (cut & blended).any()
    assert abs(cut.mean() - 0.3) < 0.02
    assert abs(blended.mean() - 0.3) < 0.02
