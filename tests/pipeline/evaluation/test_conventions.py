"""What published accuracies were measured on: each family's sides, filter and normalisation."""

import math
from pathlib import Path

import pytest
import torch

from data_shards.augmentation.config import Augmentation
from data_shards.augmentation.normalise import normalise
from data_shards.config import DataConfig
from pipeline.errors import UsageError
from pipeline.evaluation.conventions import CONVENTIONS
from pipeline.supernet.networks import build_space, named

DATA = DataConfig(
    shards=Path("data"), augmentation=Augmentation(crop="random_resized", flip=True), workers=3, on_corrupt="skip"
)


@pytest.mark.parametrize(
    ("family", "network", "sides", "interpolation"),
    [  # side of the images that the network is given, and of the short side they are cut from
        ("ofa", "mobilenet_v3", (224, 256), "bilinear"),
        ("ofa", "proxyless", (224, 256), "bilinear"),
        ("ofa", "resnet50", (224, 256), "bilinear"),
        ("compofa", "mobilenet_v3", (224, 256), "bilinear"),
        ("deps", "mobilenet_v3", (224, 256), "bilinear"),
        ("attentive_nas", "attentive_nas", (224, 256), "bilinear"),
        ("alpha_net", "attentive_nas", (224, 256), "bicubic"),
    ],
)
def test_the_published_sides(family: str, network: str, sides: tuple[int, int], interpolation: str) -> None:
    space, data = build_space(named(network)), CONVENTIONS[family].applied_to(DATA)
    for subnet in (space.smallest(), space.largest()):
        side = space.image_side(subnet)
        assert (side, math.ceil(side / data.evaluation_crop)) == sides
    assert data.evaluation_interpolation == interpolation


def test_another_resolution_is_cut_from_its_own_short_side() -> None:
    assert math.ceil(160 / CONVENTIONS["ofa"].crop) == 183


def test_the_rest_of_the_data_stays() -> None:
    data = CONVENTIONS["alpha_net"].applied_to(DATA)
    assert data.model_copy(update={"evaluation_crop": 1.0, "evaluation_interpolation": "fast"}) == DATA


def test_dali_is_refused_in_one_line() -> None:
    data = DataConfig(shards=Path("data"), reader="dali")
    with pytest.raises(
        UsageError,
        match=r"^data: evaluation_interpolation: bilinear is for reader: python or auto, not dali$",
    ):
        CONVENTIONS["ofa"].applied_to(data)


def test_images_are_normalised_by_imagenets_statistics() -> None:
    images = torch.randint(0, 256, (2, 5, 7, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    mean, deviation = (
        torch.tensor(each, dtype=torch.float64) for each in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    )
    expected = ((images.double() / 255 - mean) / deviation).permute(0, 3, 1, 2)
    torch.testing.assert_close(normalise(images).double(), expected, atol=1e-6, rtol=0)
