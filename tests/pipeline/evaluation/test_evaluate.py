"""Recalibration by hand, and accuracy counted once per sample whatever the number of processes."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from data_shards.augmentation.normalise import normalise
from data_shards.errors import ShardDamage
from data_shards.loading.loader import DataConfig, EvaluationLoader
from data_shards.store.index import open_split
from pipeline.evaluation.config import EvaluationConfig
from pipeline.evaluation.evaluate import Evaluator, count, recalibration_ids
from pipeline.evaluation.recalibrate import recalibrate
from pipeline.processes.group import Processes
from pipeline.supernet.extract import extract
from pipeline.supernet.networks import NETWORKS
from tests.pipeline.supernet.test_supernet import lively

ALONE = Processes(0, 1, torch.device("cpu"))


def test_recalibration_is_the_mean_of_each_batchs_statistics_from_a_clean_start() -> None:
    network = nn.Sequential(nn.Conv2d(3, 5, 1), nn.BatchNorm2d(5), nn.ReLU(), nn.BatchNorm2d(5))
    for layer in (network[1], network[3]):
        layer.running_mean.fill_(1e6)  # what was there before must not count
    batches = [torch.randn(8, 3, 4, 4, generator=torch.Generator().manual_seed(seed)) for seed in range(3)]
    recalibrate(network, batches)
    with torch.no_grad():
        hidden = [network[0](batch) for batch in batches]
        mean = torch.stack([each.mean((0, 2, 3)) for each in hidden]).mean(0)
        variance = torch.stack([each.var((0, 2, 3), unbiased=True) for each in hidden]).mean(0)
    torch.testing.assert_close(network[1].running_mean, mean)
    torch.testing.assert_close(network[1].running_var, variance)
    assert abs(float(network[3].running_mean.mean())) < 10
    assert not network.training
    assert network[1].momentum == 0.1


def test_the_recalibration_sample_is_fixed_distinct_and_in_whole_batches() -> None:
    ids = recalibration_ids(1000, 333, 100)
    assert len(set(ids.tolist())) == len(ids) == 300
    assert np.array_equal(ids, recalibration_ids(1000, 333, 100))
    assert len(recalibration_ids(50, 2000, 100)) == 50


@pytest.mark.parametrize("world", [1, 2, 3])
def test_shares_of_the_processes_add_up_to_the_whole(world: int, digits: Path) -> None:
    test = open_split(digits, "test")
    config = DataConfig(shards=digits, workers=0)
    network = predicts_the_mean_brightness()
    loaders = [EvaluationLoader(test, config, 32, 50, rank, world) for rank in range(world)]
    parts = torch.tensor([count(network, loader, ALONE.device) for loader in loaders], dtype=torch.float64)
    whole = count(network, EvaluationLoader(test, config, 32, 64, 0, 1), ALONE.device)
    assert parts.sum(0).tolist() == pytest.approx(whole, rel=1e-5)
    top1, top5, _, samples = whole
    assert 0 < top1 < top5 < samples == len(test)


def predicts_the_mean_brightness():
    def network(images: Tensor) -> Tensor:
        brightness = images.mean((1, 2, 3))[:, None]
        return -((brightness - torch.linspace(-2, 2, 10)) ** 2)

    return network


def test_accuracy_is_counted_by_hand(digits: Path) -> None:
    test = open_split(digits, "test")
    loader = EvaluationLoader(test, DataConfig(shards=digits, workers=0), 32, 100, 0, 1)
    network = predicts_the_mean_brightness()
    top1, top5, _, samples = count(network, loader, ALONE.device)
    hits = five = 0
    for batch in loader:
        order = network(normalise(batch.images)).argsort(dim=1, descending=True)
        hits += int((order[:, 0] == batch.labels).sum())
        five += sum(int(label) in row[:5].tolist() for row, label in zip(order, batch.labels, strict=True))
    assert (top1, top5, samples) == (hits, five, len(test))


def test_evaluating_leaves_the_supernet_as_it_was(digits: Path) -> None:
    space = NETWORKS["mobilenet_v3_digits"]
    supernet = lively(space).train()
    before = {name: tensor.clone() for name, tensor in supernet.state_dict().items()}
    config = EvaluationConfig(recalibration_samples=64, batch_size=64)
    splits = open_split(digits, "train"), open_split(digits, "test")
    evaluator = Evaluator(*splits, DataConfig(shards=digits, workers=0), config, ALONE)
    full, smallest = evaluator.full_model(supernet), evaluator.subnet(supernet, space.smallest())
    assert full.samples == smallest.samples == len(splits[1])
    assert supernet.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in supernet.state_dict().items())


def test_a_recalibrated_subnet_does_not_depend_on_the_supernets_running_statistics(digits: Path) -> None:
    space = NETWORKS["mobilenet_v3_digits"]
    images = [torch.randn(16, 3, 32, 32, generator=torch.Generator().manual_seed(seed)) for seed in range(2)]
    outputs = []
    for offset in (0.0, 3.0):
        supernet = lively(space)
        for name, buffer in supernet.named_buffers():
            if name.endswith("running_mean"):
                buffer += offset
        network = extract(supernet, space.smallest())
        recalibrate(network, images)
        outputs.append(network(images[0]))
    torch.testing.assert_close(outputs[0], outputs[1])


def test_a_subnet_is_evaluated_at_its_own_resolution(digits: Path) -> None:
    space = NETWORKS["mobilenet_v3_digits"]
    splits = open_split(digits, "train"), open_split(digits, "test")
    config = EvaluationConfig(recalibration_samples=64, batch_size=64)
    evaluator = Evaluator(*splits, DataConfig(shards=digits, workers=0), config, ALONE)
    supernet = lively(space)
    losses = [evaluator.subnet(supernet, space.uniform(1, 3, 3, resolution)).loss for resolution in (16, 32)]
    assert losses[0] != losses[1]


def test_trained_at_several_resolutions_the_full_model_is_recalibrated_for_its_own(digits: Path) -> None:
    space = replace(NETWORKS["mobilenet_v3_digits"], resolutions=(24, 32))
    splits = open_split(digits, "train"), open_split(digits, "test")
    config = EvaluationConfig(recalibration_samples=64, batch_size=64)
    evaluator = Evaluator(*splits, DataConfig(shards=digits, workers=0), config, ALONE)
    supernet = lively(space)
    recalibrated = evaluator.subnet(supernet, space.largest())
    for buffer in supernet.buffers():
        if buffer.is_floating_point():
            buffer += 1  # running statistics of whatever mixture
    assert evaluator.full_model(supernet) == recalibrated


def damage_sample(root: Path, split: str, sample: int) -> None:
    with (root / split / f"{split}-000000.tar").open("r+b") as shard:
        shard.seek(int(open_split(root, split).index[sample]["offset"]) + 30)
        shard.write(bytes(8))


def evaluator_that_skips(root: Path, max_corrupt: float) -> Evaluator:
    splits = open_split(root, "train"), open_split(root, "test")
    data = DataConfig(shards=root, workers=0, on_corrupt="skip", max_corrupt=max_corrupt)
    return Evaluator(*splits, data, EvaluationConfig(recalibration_samples=64, batch_size=64), ALONE)


def test_a_damaged_recalibration_image_is_replaced_and_told_where_the_recipe_skips(
    digits: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = shutil.copytree(digits, tmp_path / "digits")
    sample = int(recalibration_ids(1438, 64, 64)[10])
    damage_sample(root, "train", sample)
    supernet = lively(NETWORKS["mobilenet_v3_digits"])
    smallest = supernet.space.smallest()
    evaluator = evaluator_that_skips(root, 0.001)
    assert evaluator.subnet(supernet, smallest) == evaluator.subnet(supernet, smallest)
    assert len(caplog.messages) == 1
    assert f"1 of 1438 samples found damaged: 1 in train-000000.tar; first {root}" in caplog.text
    assert f"sample {sample:09d} at byte" in caplog.text
    with pytest.raises(
        ShardDamage, match=r"1 of 1438 samples found damaged: .* more than the 0 that max_corrupt allows"
    ):
        evaluator_that_skips(root, 0).subnet(supernet, smallest)


def test_a_damaged_held_out_image_fails_evaluation_even_where_the_recipe_skips(digits: Path, tmp_path: Path) -> None:
    root = shutil.copytree(digits, tmp_path / "digits")
    damage_sample(root, "test", 100)
    with pytest.raises(ShardDamage, match=r"test-000000\.tar: sample 000000100 at byte"):
        evaluator_that_skips(root, 0.9).full_model(lively(NETWORKS["mobilenet_v3_digits"]))


def test_normalisation_gives_the_network_its_layout_and_scale() -> None:
    grey = torch.full((2, 4, 6, 3), 128, dtype=torch.uint8)
    normalised = normalise(grey)
    assert normalised.shape == (2, 3, 4, 6)
    assert normalised.is_contiguous(memory_format=torch.channels_last)
    expected = (128 / 255 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    torch.testing.assert_close(normalised[0, :, 0, 0], expected)
