"""Before anything is read, the free shared memory decides how much is read ahead."""

import os
from types import SimpleNamespace
from typing import Any

import pytest

from data_shards.config import DataConfig
from data_shards.errors import ShardUsageError
from data_shards.loading import shared_memory
from data_shards.loading.automatic import automatic_prefetch
from data_shards.loading.shared_memory import fit_shared_memory, free_bytes

IMAGES, SIDE = 128, 224
BATCH = IMAGES * SIDE * SIDE * 3  # bytes: 18.4 MiB
AUTO = 8  # workers for which the machine has cores


@pytest.fixture(autouse=True)
def readers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with cores for `AUTO` workers, and the reader that the test asks for."""
    monkeypatch.setattr(shared_memory, "automatic_workers", lambda: AUTO)
    monkeypatch.setattr(shared_memory, "choose_reader", lambda wanted, augmentation, split: wanted)


def fit(batches: int, processes: int = 1, **keys: Any) -> tuple[Any, Any, str | None]:
    """Workers, prefetch and the line that is told, where there is room for a number of batches."""
    config = DataConfig(shards="anywhere", **keys)  # type: ignore[arg-type]
    fitted, told = fit_shared_memory(config, None, [(IMAGES, SIDE)], batches * BATCH, processes)  # type: ignore[arg-type]
    assert fitted == config.model_copy(update={"workers": fitted.workers, "prefetch": fitted.prefetch})
    return fitted.workers, fitted.prefetch, told


def refusal(batches: int, **keys: Any) -> str:
    with pytest.raises(ShardUsageError) as refused:
        fit(batches, **keys)
    line = str(refused.value)
    assert line.startswith("data.workers: ")
    assert len(line) < 300
    return line


@pytest.mark.parametrize(
    "keys", [{}, {"workers": 3}, {"workers": 3, "prefetch": 5}, {"prefetch": 4}, {"workers": 0, "prefetch": 100}]
)
def test_what_fits_is_left_as_it_is(keys: dict) -> None:
    workers = keys.get("workers", AUTO)
    most = workers * keys.get("prefetch", automatic_prefetch(workers))
    assert fit(most + 3, **keys) == (keys.get("workers", "auto"), keys.get("prefetch", "auto"), None)


@pytest.mark.parametrize(
    ("ready", "keys", "workers", "prefetch"),
    [
        (15, {}, 8, 1),  # fewer batches ahead before fewer workers
        (8, {}, 8, 1),
        (7, {}, 7, 1),
        (1, {}, 1, 1),
        (0, {}, 0, 1),  # in the training process itself, which needs no shared memory
        (15, {"prefetch": 2}, 7, 2),
        (2, {"prefetch": 3}, 0, 3),
        (7, {"workers": 4}, 4, 1),
    ],
)
def test_what_is_left_to_the_machine_is_lowered_until_it_fits_and_told(
    ready: int, keys: dict, workers: int, prefetch: int
) -> None:
    chosen, ahead, told = fit(ready + 3, **keys)
    assert (chosen, ahead) == (workers, prefetch)
    assert chosen * ahead <= ready or chosen == 0
    assert told is not None
    assert told.startswith(f"data.workers: {workers} and data.prefetch: {prefetch} it is, as ")
    assert "/dev/shm" in told
    assert "docker run --shm-size=" in told
    assert len(told) < 300


def test_what_the_recipe_names_is_refused_with_what_is_legal_and_what_gives_more_room() -> None:
    line = refusal(10, workers=4, prefetch=2)
    assert "4 workers × 2 batches ready × 1 processes need 202 MiB of /dev/shm, where 184 can be had" in line
    assert "legal: data.workers=0 … 3, data.prefetch=1 … 1, or smaller batches" in line
    assert "docker run --shm-size=256m" in line
    assert "legal: data.workers=0, or smaller" in refusal(3, workers=4, prefetch=2)
    assert "legal: data.workers=0 … 1, or smaller" in refusal(4, workers=4)


def test_every_process_of_the_machine_takes_its_share() -> None:
    assert fit(16 * 11, processes=16)[:2] == (8, 1)
    assert fit(8 * 19, processes=8) == ("auto", "auto", None)


def test_training_and_evaluation_have_batches_ready_at_one_time() -> None:
    config = DataConfig(shards="anywhere", workers=2, prefetch=2)  # type: ignore[arg-type]
    both = [(IMAGES, SIDE), (2 * IMAGES, SIDE)]
    fit_shared_memory(config, None, both, 21 * BATCH, 1)  # type: ignore[arg-type]
    with pytest.raises(ShardUsageError, match=r"data\.workers=0 … 1"):
        fit_shared_memory(config, None, both, 21 * BATCH - 1, 1)  # type: ignore[arg-type]


def test_dali_reads_in_the_process_itself() -> None:
    assert fit(0, reader="dali", workers=8) == (8, "auto", None)


def test_what_is_free_is_what_this_user_can_write(monkeypatch: pytest.MonkeyPatch) -> None:
    place = SimpleNamespace(f_bavail=7, f_bfree=9, f_frsize=4096)
    monkeypatch.setattr(os, "statvfs", lambda path: place)
    assert free_bytes() == 7 * 4096
    monkeypatch.setattr(os, "access", lambda path, mode, effective_ids: False)
    assert free_bytes() == 0


def test_where_there_is_no_shared_memory_nothing_is_free(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setattr(shared_memory, "PLACE", str(tmp_path / "missing"))
    assert free_bytes() == 0
