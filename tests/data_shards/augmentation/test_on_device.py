"""What the device does to a batch, compared with PIL, with Python's `colorsys`, and with sums by hand."""

import colorsys

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance

from data_shards.augmentation.config import Augmentation, RandomErasing
from data_shards.augmentation.draws import BLEND, ERASED, FILL, GREY, LABEL_SHARE, MATRIX, PASTED, draw_for_device
from data_shards.augmentation.on_device import augment_on_device
from data_shards.randomness import Draws
from tests.data_shards.pictures import photo

IDS = np.arange(20, 28)
PICTURES = np.stack([photo(40, 40, number) for number in IDS])
LABELS = torch.tensor([3, 1, 4, 1, 5, 5, 2, 0])


def augmented(augmentation, pictures=PICTURES, seed=1, epoch=2):
    """Images as float64 [8, 40, 40, 3], labels, and the rows they were made by."""
    rows = draw_for_device(augmentation, Draws(seed, epoch, IDS), 40)
    images, labels = augment_on_device(
        torch.from_numpy(pictures), LABELS, torch.from_numpy(rows), augmentation, classes=6
    )
    return images.double().numpy(), labels, rows


def test_with_nothing_to_do_images_and_labels_pass_untouched():
    images = torch.from_numpy(PICTURES)
    result = augment_on_device(images, LABELS, torch.empty(8, 0), Augmentation(crop="padded"), 6)
    assert result[0] is images
    assert result[1] is LABELS


@pytest.mark.parametrize(
    ("jitter", "enhancer"),
    [
        ((0.4, 0, 0, 0), ImageEnhance.Brightness),
        ((0, 0.4, 0, 0), ImageEnhance.Contrast),
        ((0, 0, 0.4, 0), ImageEnhance.Color),
    ],
)
def test_jitter_of_one_property_does_what_pil_does(jitter, enhancer):
    images, _, rows = augmented(Augmentation(colour_jitter=jitter))
    gain = rows[:, MATRIX].reshape(-1, 3, 3).sum(axis=2)[:, 0]
    if enhancer is ImageEnhance.Color:
        gain = (rows[:, MATRIX][:, [0, 4, 8]].sum(axis=1) - 1) / 2  # the trace is 1 + 2 · saturation
    assert np.ptp(gain) > 0.3
    for ours, picture, factor in zip(images, PICTURES, gain.tolist(), strict=True):
        theirs = np.asarray(enhancer(Image.fromarray(picture)).enhance(factor)).astype(float)
        assert np.abs(ours - theirs).max() <= 2  # PIL cuts decimals off, and rounds greys
        assert np.abs(ours - theirs).mean() < 1


def test_hue_turns_colours_about_the_axis_of_greys():
    images, _, rows = augmented(Augmentation(colour_jitter=(0, 0, 0, 0.1)), PICTURES // 4 + 96)
    before = (PICTURES // 4 + 96).astype(float)
    assert (rows[:, GREY] == 0).all()
    turns = []
    for number in range(8):
        for y, x in np.random.default_rng(number).integers(0, 40, (30, 2)):
            y_before, *chroma_before = colorsys.rgb_to_yiq(*before[number, y, x])
            y_after, *chroma_after = colorsys.rgb_to_yiq(*images[number, y, x])
            # Python rounds the weights of its colours to two decimals.
            assert y_after == pytest.approx(y_before, abs=0.6)
            size = np.hypot(*chroma_before)
            assert np.hypot(*chroma_after) == pytest.approx(size, abs=1 + 0.03 * size)
            if size > 10:
                turn = np.angle(complex(*chroma_after) / complex(*chroma_before)) / (2 * np.pi)
                turns.append((number, turn))
    for number in range(8):
        of_it = [turn for picture, turn in turns if picture == number]
        assert len(of_it) > 3
        assert np.ptp(of_it) < 0.03, "one turn for the whole image"
        assert abs(np.median(of_it)) < 0.105
    assert np.ptp([turn for _, turn in turns]) > 0.05


def test_all_of_jitter_at_once_is_one_after_the_other_in_any_order():
    strays = (0.2, 0.2, 0.3, 0.1)
    calm = PICTURES // 4 + 96  # nothing reaches 0 or 255
    together, _, _ = augmented(Augmentation(colour_jitter=strays), calm)
    for order in ([0, 1, 2, 3], [3, 1, 0, 2], [2, 3, 1, 0]):
        images = torch.from_numpy(calm)
        for which in order:
            alone = Augmentation(colour_jitter=[stray if which == each else 0 for each, stray in enumerate(strays)])
            rows = torch.from_numpy(draw_for_device(alone, Draws(1, 2, IDS), 40))
            images, _ = augment_on_device(images, LABELS, rows, alone, 6)
        np.testing.assert_allclose(together, images.numpy(), atol=1e-2)


def test_jittered_values_stay_within_what_bytes_can_hold():
    images, _, _ = augmented(Augmentation(colour_jitter=(1, 1, 1, 0.5)))
    assert images.min() == 0
    assert images.max() == 255


def test_erasing_paints_the_drawn_rectangle_and_nothing_else():
    augmentation = Augmentation(random_erasing=RandomErasing(probability=0.4, fill="colour"))
    images, labels, rows = augmented(augmentation)
    assert labels is LABELS
    expected = PICTURES.astype(float)
    for image, (x, y, w, h), fill in zip(expected, rows[:, ERASED].astype(int), rows[:, FILL], strict=True):
        image[y : y + h, x : x + w] = fill
    assert (images == expected).all()
    changed = (expected != PICTURES).any(axis=(1, 2, 3))
    assert 2 <= changed.sum() <= 7


MIXTURES = [
    Augmentation(mixup=1.0),
    Augmentation(cutmix=1.0),
    Augmentation(mixup=1.0, cutmix=1.0, mix_probability=0.9),
]


@pytest.mark.parametrize("augmentation", MIXTURES)
def test_images_and_labels_are_mixed_with_the_same_shares(augmentation):
    flat = np.broadcast_to(np.arange(8, dtype=np.uint8)[:, None, None, None] * 30, (8, 40, 40, 3)).copy()
    images, labels, rows = augmented(augmentation, flat)
    np.testing.assert_allclose(labels.sum(1), 1, atol=1e-6)
    for position in range(8):
        partner = position ^ 1
        # Where images are plain, the mean tells the share of each partner.
        own = (images[position].mean() - 30 * partner) / (30 * position - 30 * partner)
        expected = np.zeros(6)
        expected[LABELS[position]] += own
        expected[LABELS[partner]] += 1 - own
        np.testing.assert_allclose(labels[position], expected, atol=1e-4)
        assert own == pytest.approx(float(rows[position, LABEL_SHARE][0]), abs=1e-4)
    assert len({round(float(share), 3) for share in rows[:, LABEL_SHARE][:, 0]}) >= 3


def test_mixup_blends_and_cutmix_pastes():
    images, _, rows = augmented(Augmentation(mixup=1.0, cutmix=1.0), epoch=3)
    cut = rows[:, PASTED][:, 2] > 0
    assert 0 < cut.sum() < 8
    for position in range(8):
        picture, partner = PICTURES[position].astype(float), PICTURES[position ^ 1].astype(float)
        own = float(rows[position, BLEND][0])
        expected = own * picture + (1 - own) * partner
        x, y, w, h = rows[position, PASTED].astype(int)
        expected[y : y + h, x : x + w] = partner[y : y + h, x : x + w]
        np.testing.assert_allclose(images[position], expected, atol=1e-3)


def test_two_of_a_class_keep_its_label_whole():
    _, labels, rows = augmented(Augmentation(mixup=1.0))
    assert 0.01 < rows[4, LABEL_SHARE][0] < 0.99
    assert labels[4].tolist() == labels[5].tolist() == pytest.approx([0, 0, 0, 0, 0, 1])


def test_what_is_mixed_was_jittered_and_erased_before():
    parts = {"colour_jitter": (0.3, 0.3, 0.3, 0.1), "random_erasing": RandomErasing(probability=0.7)}
    unmixed, _, _ = augmented(Augmentation(**parts))
    images, _, rows = augmented(Augmentation(**parts, mixup=1.0))
    own = rows[:, BLEND][:, :, None, None].astype(float)
    expected = own * unmixed + (1 - own) * unmixed.reshape(4, 2, 40, 40, 3)[:, ::-1].reshape(unmixed.shape)
    np.testing.assert_allclose(images, expected, atol=1e-3)
