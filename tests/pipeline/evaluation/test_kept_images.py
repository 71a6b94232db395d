"""Decoded images are kept while there is room for them, and else read again, which changes no figure."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch

from data_shards.loading.loader import Batch, DataConfig
from data_shards.store.index import open_split
from pipeline.evaluation import evaluate, room
from pipeline.evaluation.config import EvaluationConfig
from pipeline.evaluation.evaluate import AT_ONCE, Evaluator
from pipeline.evaluation.room import activation_bytes, available_bytes, room_for_images
from pipeline.processes.group import Processes
from pipeline.supernet.networks import NETWORKS
from pipeline.supernet.part import LayerSpace
from tests.pipeline.supernet.test_supernet import lively

ALONE = Processes(0, 1, torch.device("cpu"))
SPACE = replace(NETWORKS["mobilenet_v3_digits"], resolutions=(16, 32))
SUBNETS = [SPACE.uniform(1, 3, 3, 16), SPACE.uniform(2, 3, 3, 32), SPACE.uniform(1, 3, 3, 32), SPACE.largest()]
RECALIBRATION, HELD_OUT = 64, 359  # images


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of images of each pass over a split."""
    passes: list[int] = []

    class Noting(evaluate.EvaluationLoader):
        def __iter__(self) -> Iterator[Batch]:
            passes.append(sum(map(len, self._pieces)))
            return super().__iter__()

    monkeypatch.setattr(evaluate, "EvaluationLoader", Noting)
    return passes


def evaluator(digits: Path, kept: int | None) -> Evaluator:
    splits = open_split(digits, "train"), open_split(digits, "test")
    config = EvaluationConfig(recalibration_samples=RECALIBRATION, batch_size=RECALIBRATION)
    return Evaluator(*splits, DataConfig(shards=digits, workers=0), config, ALONE, kept)


def test_subnets_measured_together_have_the_accuracies_that_they_have_alone(digits: Path) -> None:
    supernet = lively(SPACE)
    ours = evaluator(digits, 10**9)
    found = ours.subnets(supernet, [*SUBNETS, SUBNETS[0]])
    assert found == [*found[:4], found[0]]
    assert found[:4] == [evaluator(digits, None).subnet(supernet, subnet) for subnet in SUBNETS]
    assert len({accuracy.loss for accuracy in found}) == 4


def test_any_number_of_subnets_is_measured_a_few_at_a_time(digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    together: list[int] = []
    monkeypatch.setattr(Evaluator, "subnets", lambda self, supernet, subnets: together.append(len(subnets)) or subnets)
    subnets = [SUBNETS[0]] * (2 * AT_ONCE + 1)
    assert list(evaluator(digits, None).each(lively(SPACE), subnets)) == subnets
    assert together == [AT_ONCE, AT_ONCE, 1]


def test_images_are_decoded_once_for_each_side_where_there_is_room(digits: Path, read: list[int]) -> None:
    ours, supernet = evaluator(digits, (RECALIBRATION + HELD_OUT) * 3 * (16**2 + 32**2)), lively(SPACE)
    first = ours.subnets(supernet, SUBNETS)
    assert read == [RECALIBRATION, HELD_OUT] * 2
    assert ours.subnets(supernet, SUBNETS) == first
    assert len(read) == 4


def test_what_there_is_no_room_for_is_read_again_and_told_once(
    digits: Path, read: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    room_for_16 = (RECALIBRATION + HELD_OUT) * 3 * 16**2
    ours, supernet = evaluator(digits, room_for_16), lively(SPACE)
    found = [ours.subnets(supernet, SUBNETS) for _ in range(2)]
    assert read == [RECALIBRATION, HELD_OUT] * 3
    assert caplog.messages == [
        "64 recalibration images of 32 px need 0.2 MiB of memory, where 0.0 can be had beside the evaluation: they are "
        "read again for every few subnets"
    ]
    assert found == [evaluator(digits, 10**9).subnets(supernet, SUBNETS)] * 2


def test_in_training_the_recalibration_images_alone_are_kept(digits: Path, read: list[int]) -> None:
    ours, supernet = evaluator(digits, None), lively(SPACE)
    for _ in range(2):
        ours.subnet(supernet, SUBNETS[0])
    assert read == [RECALIBRATION, HELD_OUT, HELD_OUT]


class _Three(Processes):
    """Two of them on this machine."""

    def gathered(self, values):
        return [*values, *values, "elsewhere"]


def test_the_room_is_what_is_left_beside_the_evaluation_shared_by_the_processes_of_a_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(room, "available_bytes", lambda: 1 << 30)
    evaluated = 100 * activation_bytes(SPACE)
    assert room_for_images(SPACE, 100, ALONE) == (1 << 30) - evaluated
    assert room_for_images(SPACE, 100, _Three(0, 3, torch.device("cpu"))) == (1 << 29) - evaluated
    assert room_for_images(SPACE, 100, Processes(0, 1, torch.device("cuda"))) == 1 << 30
    assert room_for_images(SPACE, 1 << 20, ALONE) == 0


def test_activations_by_hand() -> None:
    """A stem at 32 px, pooling and a classifier: their outputs, and three times the largest."""
    stem = LayerSpace("stem", "conv", (16,), 3, 1, "stem_bn", "relu")
    head = (LayerSpace("pool", "pool"), LayerSpace("classifier", "linear", (10,), bias=True))
    space = replace(SPACE, stem=(stem,), stages=(), head=head, resolutions=(32,))
    assert activation_bytes(space) == 4 * ((16 * 32**2 + 16 + 10) + 3 * 16 * 32**2)


def limited(root: Path, folder: str, files: dict[str, str]) -> None:
    group = root / folder
    group.mkdir(parents=True)
    for name, content in files.items():
        (group / name).write_text(content + "\n")


def test_memory_is_limited_by_the_control_groups_of_either_version(tmp_path: Path) -> None:
    free = psutil.virtual_memory().available
    own, root = tmp_path / "cgroup", tmp_path / "groups"
    assert available_bytes(tmp_path / "nowhere", root) == pytest.approx(free, rel=0.2)
    own.write_text("0::/job/step\n")
    limited(root, "job/step", {"memory.max": "max", "memory.current": "5", "memory.stat": "inactive_file 1"})
    assert available_bytes(own, root) == pytest.approx(free, rel=0.2)
    files = {"memory.max": "5000", "memory.current": "3000", "memory.stat": "anon 9\ninactive_file 500"}
    for name, content in files.items():
        (root / "job" / name).write_text(content)
    assert available_bytes(own, root) == 2500
    own.write_text("5:cpu:/a\n4:memory:/a\n")
    older = {"memory.limit_in_bytes": "900", "memory.usage_in_bytes": "1000", "memory.stat": "total_inactive_file 0"}
    limited(root, "memory/a", older)
    assert available_bytes(own, root) == 0
