"""AutoAugment: each image gets one of a policy's 25 sub-policies, two operations with a probability for each.

Policies and ranges of "AutoAugment: Learning Augmentation Strategies from Data" (Cubuk et al., CVPR 2019, appendix:
tables of the ImageNet and the CIFAR-10 policy, and of the ranges). A magnitude of 0 … 9 stands for ten even steps.
Where the paper's range has two sides (rotation from -30° to 30°, colour from 0.1 to 1.9), magnitude is the distance
from the middle, which changes nothing, and the side is drawn; posterizing and solarizing grow stronger with it.
Translation, in the paper up to 150 of 331 pixels, is that share of the side at every resolution.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import cv2
import numpy as np

from data_shards.augmentation import image_operations as operations
from data_shards.randomness import Draws, Purpose

AutoAugmentPolicy = Literal["none", "imagenet", "cifar10"]

_STEPS = 9  # the highest magnitude


class _Step(NamedTuple):
    operation: str
    probability: float
    magnitude: int


def _policy(table: str) -> tuple[tuple[_Step, _Step], ...]:
    rows = [line.split() for line in table.strip().splitlines()]
    return tuple((_Step(row[0], float(row[1]), int(row[2])), _Step(row[3], float(row[4]), int(row[5]))) for row in rows)


# Operation, probability and magnitude of the first step, then of the second, as the paper lists them.
POLICIES = {
    "imagenet": _policy("""
        Posterize    0.4 8   Rotate       0.6 9
        Solarize     0.6 5   AutoContrast 0.6 5
        Equalize     0.8 8   Equalize     0.6 3
        Posterize    0.6 7   Posterize    0.6 6
        Equalize     0.4 7   Solarize     0.2 4
        Equalize     0.4 4   Rotate       0.8 8
        Solarize     0.6 3   Equalize     0.6 7
        Posterize    0.8 5   Equalize     1.0 2
        Rotate       0.2 3   Solarize     0.6 8
        Equalize     0.6 8   Posterize    0.4 6
        Rotate       0.8 8   Color        0.4 0
        Rotate       0.4 9   Equalize     0.6 2
        Equalize     0.0 7   Equalize     0.8 8
        Invert       0.6 4   Equalize     1.0 8
        Color        0.6 4   Contrast     1.0 8
        Rotate       0.8 8   Color        1.0 2
        Color        0.8 8   Solarize     0.8 7
        Sharpness    0.4 7   Invert       0.6 8
        ShearX       0.6 5   Equalize     1.0 9
        Color        0.4 0   Equalize     0.6 3
        Equalize     0.4 7   Solarize     0.2 4
        Solarize     0.6 5   AutoContrast 0.6 5
        Invert       0.6 4   Equalize     1.0 8
        Color        0.6 4   Contrast     1.0 8
        Equalize     0.8 8   Equalize     0.6 3
    """),
    "cifar10": _policy("""
        Invert       0.1 7   Contrast     0.2 6
        Rotate       0.7 2   TranslateX   0.3 9
        Sharpness    0.8 1   Sharpness    0.9 3
        ShearY       0.5 8   TranslateY   0.7 9
        AutoContrast 0.5 8   Equalize     0.9 2
        ShearY       0.2 7   Posterize    0.3 7
        Color        0.4 3   Brightness   0.6 7
        Sharpness    0.3 9   Brightness   0.7 9
        Equalize     0.6 5   Equalize     0.5 1
        Contrast     0.6 7   Sharpness    0.6 5
        Color        0.7 7   TranslateX   0.5 8
        Equalize     0.3 7   AutoContrast 0.4 8
        TranslateY   0.4 3   Sharpness    0.2 6
        Brightness   0.9 6   Color        0.2 8
        Solarize     0.5 2   Invert       0.0 3
        Equalize     0.2 0   AutoContrast 0.6 0
        Equalize     0.2 8   Equalize     0.6 4
        Color        0.9 9   Equalize     0.6 6
        AutoContrast 0.8 4   Solarize     0.2 8
        Brightness   0.1 3   Color        0.7 0
        Solarize     0.4 5   AutoContrast 0.9 3
        TranslateY   0.9 9   TranslateY   0.7 9
        AutoContrast 0.9 2   Solarize     0.8 3
        Equalize     0.8 8   Invert       0.1 3
        TranslateY   0.7 9   AutoContrast 0.9 1
    """),
}

# Each takes the image, the strength (magnitude divided by the highest one) and the side (-1 or 1).
_OPERATIONS: dict[str, Callable[[np.ndarray, float, int], np.ndarray]] = {
    "ShearX": lambda image, strength, side: operations.shear_x(image, side * 0.3 * strength),
    "ShearY": lambda image, strength, side: operations.shear_y(image, side * 0.3 * strength),
    "TranslateX": lambda image, strength, side: operations.translate_x(image, side * _shift(image, strength)),
    "TranslateY": lambda image, strength, side: operations.translate_y(image, side * _shift(image, strength)),
    "Rotate": lambda image, strength, side: operations.rotate(image, side * 30 * strength),
    "Brightness": lambda image, strength, side: operations.brightness(image, 1 + side * 0.9 * strength),
    "Contrast": lambda image, strength, side: operations.contrast(image, 1 + side * 0.9 * strength),
    "Color": lambda image, strength, side: operations.colour(image, 1 + side * 0.9 * strength),
    "Sharpness": lambda image, strength, side: operations.sharpness(image, 1 + side * 0.9 * strength),
    "Posterize": lambda image, strength, side: operations.posterize(image, 8 - round(4 * strength)),
    "Solarize": lambda image, strength, side: operations.solarize(image, round(256 * (1 - strength))),
    "AutoContrast": lambda image, strength, side: operations.auto_contrast(image),
    "Equalize": lambda image, strength, side: operations.equalize(image),
    "Invert": lambda image, strength, side: operations.invert(image),
}


def _shift(image: np.ndarray, strength: float) -> int:
    return round(150 / 331 * image.shape[0] * strength)  # whole pixels stay sharp


class AutoAugmentDraws(NamedTuple):
    """What is drawn for each of B images.

    `sub_policy`: its position in the policy, int [B]. For each of its two operations: `applied`, whether it is applied,
    bool [B, 2]; `side`, the direction of its magnitude, -1 or 1, int [B, 2].
    """

    sub_policy: np.ndarray
    applied: np.ndarray
    side: np.ndarray


def draw_auto_augment(policy: str, draws: Draws) -> AutoAugmentDraws:
    """Which of a policy's operations B samples get.

    Args:
        policy: one of `POLICIES`.
        draws: for the samples.
    """
    table = POLICIES[policy]
    chosen = np.floor(draws.uniform(Purpose.SUB_POLICY) * len(table)).astype(np.int64)
    probability = np.array([[step.probability for step in steps] for steps in table])[chosen]
    applied = draws.uniform(Purpose.APPLIED, 2) < probability
    side = np.where(draws.uniform(Purpose.SIDE, 2) < 0.5, -1, 1)
    return AutoAugmentDraws(chosen, applied, side)


def auto_augment(images: np.ndarray, policy: str, draws: Draws) -> None:
    """Change images as a policy says, in place.

    Args:
        images: uint8 RGB [B, H, W, 3].
        policy: one of `POLICIES`.
        draws: for the samples that the images show.
    """
    cv2.setNumThreads(0)  # a process per core beats threads within an image of this size
    drawn = draw_auto_augment(policy, draws)
    for image, chosen, applied, sides in zip(images, *(part.tolist() for part in drawn), strict=True):
        result = image
        for step, apply, side in zip(POLICIES[policy][chosen], applied, sides, strict=True):
            if apply:
                result = _OPERATIONS[step.operation](result, step.magnitude / _STEPS, side)
        if result is not image:
            image[...] = result
