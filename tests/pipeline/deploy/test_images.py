"""Which images an INT8 file is made by: never those that it is reported on."""

import numpy as np
import pytest

from data_shards.open_data import Data
from pipeline.deploy import images
from pipeline.deploy.images import sample


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, set[int], bool]]:
    """The split and ids of all that was read, and whether others may stand in their place."""
    seen: list[tuple[object, set[int], bool]] = []

    def noting(split, config, side, ids, substitute):
        seen.append((split, set(np.asarray(ids).tolist()), substitute))
        assert len(seen[-1][1]) == len(ids)
        return seen[-1][1]

    monkeypatch.setattr(images, "_read", noting)
    return seen


def test_layers_are_chosen_on_validation_images(read) -> None:
    train, validation, test = range(5000), range(5000, 8000), range(900)
    found = sample(Data(train, validation, test), None, 16)
    assert found.chosen_on == "validation"
    assert [split for split, _, _ in read] == [train, validation]
    assert [len(ids) for _, ids, _ in read] == [512, 2000]
    assert [substitute for _, _, substitute in read] == [True, False]


@pytest.mark.parametrize("count", [10, 1000, 5000])
def test_without_validation_images_on_training_images_of_their_own(count: int, read) -> None:
    train = range(count)
    found = sample(Data(train, None, range(900)), None, 16)
    assert found.chosen_on == "training"
    (split, calibration, _), (other, choice, _) = read
    assert split == other == train
    assert not calibration & choice
    assert len(calibration) == min(512, count // 2)
    assert len(choice) == min(2000, count - len(calibration))
