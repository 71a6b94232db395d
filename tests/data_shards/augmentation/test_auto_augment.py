"""AutoAugment: the published policies, drawn for a sample and an epoch, with the results that PIL gives."""

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from data_shards.augmentation.auto_augment import POLICIES, auto_augment, draw_auto_augment
from data_shards.randomness import Draws
from tests.data_shards.pictures import photo

NAMES = ["imagenet", "cifar10"]


@pytest.mark.parametrize("policy", NAMES)
def test_a_policy_is_25_pairs_of_operations(policy):
    steps = np.array([step for pair in POLICIES[policy] for step in pair])
    assert len(steps) == 50
    assert set(steps[:, 1].astype(float) * 10) <= {float(tenths) for tenths in range(11)}
    assert set(steps[:, 2].astype(int)) <= set(range(10))


def test_policies_are_the_published_ones():
    # Rows, and how often each operation occurs, counted in the paper's tables.
    assert POLICIES["imagenet"][0] == (("Posterize", 0.4, 8), ("Rotate", 0.6, 9))
    assert POLICIES["imagenet"][16] == (("Color", 0.8, 8), ("Solarize", 0.8, 7))
    assert POLICIES["cifar10"][1] == (("Rotate", 0.7, 2), ("TranslateX", 0.3, 9))
    assert POLICIES["cifar10"][24] == (("TranslateY", 0.7, 9), ("AutoContrast", 0.9, 1))
    counts = {policy: dict.fromkeys(("Equalize", "Color", "Solarize", "Invert", "Brightness"), 0) for policy in NAMES}
    for policy in NAMES:
        for pair in POLICIES[policy]:
            for step in pair:
                if step.operation in counts[policy]:
                    counts[policy][step.operation] += 1
    assert counts["imagenet"] == {"Equalize": 17, "Color": 6, "Solarize": 7, "Invert": 3, "Brightness": 0}
    assert counts["cifar10"] == {"Equalize": 9, "Color": 5, "Solarize": 4, "Invert": 3, "Brightness": 4}


@pytest.mark.parametrize("policy", NAMES)
def test_sub_policies_probabilities_and_sides_are_drawn_as_stated(policy):
    n = 50_000
    draws = draw_auto_augment(policy, Draws(3, 1, np.arange(n)))
    per_sub_policy = np.bincount(draws.sub_policy, minlength=25)
    assert 1850 < per_sub_policy.min() <= per_sub_policy.max() < 2150
    for number, pair in enumerate(POLICIES[policy]):
        of_it = draws.sub_policy == number
        for step in range(2):
            assert abs(draws.applied[of_it, step].mean() - pair[step].probability) < 0.045
        both = draws.applied[of_it].all(axis=1).mean()
        assert abs(both - pair[0].probability * pair[1].probability) < 0.045, "each step has a draw of its own"
    assert abs(draws.side.mean()) < 0.02
    assert set(np.unique(draws.side)) == {-1, 1}
    both = np.stack([draws.side[:, 0], draws.side[:, 1], draws.sub_policy % 2], axis=0)
    assert np.abs(np.corrcoef(both) - np.eye(3)).max() < 0.02, "draws are independent of each other"


def test_draws_depend_on_seed_epoch_and_sample_alone():
    ids = np.random.default_rng(0).permutation(3000)
    whole = draw_auto_augment("imagenet", Draws(5, 2, ids))
    part = draw_auto_augment("imagenet", Draws(5, 2, ids[700:800][::-1]))
    for one, other in zip(part, whole, strict=True):
        assert (one == other[700:800][::-1]).all()
    for seed, epoch in ((6, 2), (5, 3)):
        other = draw_auto_augment("imagenet", Draws(seed, epoch, ids))
        assert 0.02 < (other.sub_policy == whole.sub_policy).mean() < 0.06
        assert 0.45 < (other.side == whole.side).mean() < 0.55


# The operations that give exactly PIL's pixels.
EXACT = {"Posterize", "Solarize", "AutoContrast", "Equalize", "Invert", "TranslateX", "TranslateY"}


def by_pil(image: Image.Image, operation: str, magnitude: int, side: int) -> Image.Image:
    """The operation as the paper describes it: magnitudes 0 … 9 over its table of ranges."""
    strength = magnitude / 9
    factor = 1 + 0.9 * side * strength
    affine = {
        "ShearX": (1, 0.3 * side * strength, 0, 0, 1, 0),
        "ShearY": (1, 0, 0, 0.3 * side * strength, 1, 0),
        "TranslateX": (1, 0, side * round(150 / 331 * image.width * strength), 0, 1, 0),
        "TranslateY": (1, 0, 0, 0, 1, side * round(150 / 331 * image.height * strength)),
    }
    if operation in affine:
        how = {"resample": Image.Resampling.BILINEAR, "fillcolor": (124, 116, 104)}
        return image.transform(image.size, Image.Transform.AFFINE, affine[operation], **how)
    if operation == "Rotate":
        return image.rotate(30 * side * strength, Image.Resampling.BILINEAR, fillcolor=(124, 116, 104))
    return {
        "Brightness": lambda: ImageEnhance.Brightness(image).enhance(factor),
        "Contrast": lambda: ImageEnhance.Contrast(image).enhance(factor),
        "Color": lambda: ImageEnhance.Color(image).enhance(factor),
        "Sharpness": lambda: ImageEnhance.Sharpness(image).enhance(factor),
        "Posterize": lambda: ImageOps.posterize(image, {0: 8, 2: 7, 5: 6, 6: 5, 7: 5, 8: 4}[magnitude]),
        "Solarize": lambda: ImageOps.solarize(image, round(256 - 256 * strength)),
        "AutoContrast": lambda: ImageOps.autocontrast(image),
        "Equalize": lambda: ImageOps.equalize(image),
        "Invert": lambda: ImageOps.invert(image),
    }[operation]()


@pytest.mark.parametrize("policy", NAMES)
def test_images_come_out_as_by_pil(policy):
    ids = np.arange(400)
    before = np.stack([photo(48, 48, number % 7) for number in ids])
    after = before.copy()
    auto_augment(after, policy, Draws(1, 4, ids))
    draws = draw_auto_augment(policy, Draws(1, 4, ids))
    apart, exact = [], []
    for picture, ours, sub_policy, applied, sides in zip(before, after, *draws, strict=True):
        image = Image.fromarray(picture)
        for step, apply, side in zip(POLICIES[policy][sub_policy], applied, sides, strict=True):
            image = by_pil(image, step.operation, step.magnitude, int(side)) if apply else image
        done = {step.operation for step, apply in zip(POLICIES[policy][sub_policy], applied, strict=True) if apply}
        exact.append(done <= EXACT)
        apart.append(np.abs(ours.astype(int) - np.asarray(image)).mean())
    apart, exact = np.array(apart), np.array(exact)
    assert exact.sum() > 100
    assert (apart[exact] == 0).all()
    # On average over an image: there is rounding, a seam along the fill, and what equalizing makes of both.
    assert np.max(apart) < 6
    assert np.median(apart) < 0.5
    assert 0.1 < (before == after).all(axis=(1, 2, 3)).mean() < 0.5, "some images are left alone"


def test_an_image_changes_the_same_way_in_any_batch():
    ids = np.arange(60)
    pictures = np.stack([photo(32, 32, number) for number in ids])
    whole = pictures.copy()
    auto_augment(whole, "cifar10", Draws(2, 0, ids))
    order = np.random.default_rng(1).permutation(60)[:20]
    part = pictures[order]
    auto_augment(part, "cifar10", Draws(2, 0, ids[order]))
    assert (part == whole[order]).all()
