"""The host never waits for its accelerator but where a line of the log is read. The same on a GPU: `tests/gpu`."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from data_shards.augmentation.normalise import normalise
from data_shards.loading.loader import DataConfig, EvaluationLoader
from data_shards.store.index import open_split
from pipeline.evaluation.evaluate import count
from pipeline.evaluation.recalibrate import recalibrate
from pipeline.processes.group import launched_processes
from pipeline.supernet.extract import extract
from pipeline.supernet.networks import NETWORKS
from tests.pipeline.supernet.test_supernet import lively
from tests.support.trainers import VARIED, digits_recipe, digits_trainer
from tests.support.waits import Waits

SPACE = NETWORKS["mobilenet_v3_digits"]
PHASES = [  # two steps of each before it is told to stop; sorting the channels takes the weights to the host, once
    "schedule.duration=20 steps",
    "schedule.full_model_warmup=4 steps",
    "schedule.epsilon_ramp=2 steps",
    "schedule.learning_rate.warmup=0",
    "schedule.reorganise=false",
    "evaluation.full_when_shrinking=0",
    "log_every=3 steps",
]
STEPS = 6


@pytest.mark.parametrize(
    ("engine", "kernels", "own"),
    [
        ("single", "auto", None),
        ("single", "reference", None),
        ("fsdp", "auto", None),
        # DDP looks up which parameters no sub-step has used, on the host.
        ("ddp", "auto", "_local_scalar_dense at pipeline/engines/ddp.py"),
    ],
)
def test_a_whole_step_with_everything_on_never_waits_and_moves_each_part_of_a_batch_once(
    engine: str, kernels: str, own: str | None, digits: Path, tmp_path: Path
) -> None:
    with launched_processes() as processes:
        recipe = digits_recipe(digits, tmp_path, *VARIED, *PHASES, f"engine.name={engine}", f"kernels={kernels}")
        trainer, noted = digits_trainer(recipe, processes)
        normalise(torch.zeros(1, 1, 1, 3))  # its constants are made once per device
        steps, lines = Waits(), Waits()

        def within(waits: Waits, work: Callable[..., Any]) -> Callable[..., Any]:
            def done(*arguments: Any, **options: Any) -> Any:
                with waits:
                    return work(*arguments, **options)

            return done

        def stop_at_last() -> None:
            after_step()
            if trainer.counters.step == STEPS:
                trainer.feed.stop_request.signal = signal.SIGTERM

        after_step = within(lines, trainer._after_step)
        trainer.step = within(steps, trainer.step)
        trainer._after_step = stop_at_last
        assert trainer.train() == signal.SIGTERM

    assert [wait for wait in steps.found if own is None or not wait.startswith(own)] == []
    assert len(steps.moved) == 3 * STEPS
    assert {place.partition(":")[0] for place in steps.moved} == {"pipeline/training/feed.py"}
    assert list(noted.rows) == [3, 6]
    assert {wait.partition(":")[0] for wait in lines.found} == {"tolist at pipeline/training/log_interval.py"}
    assert lines.moved == []


def test_evaluation_waits_once_for_all_of_its_images(digits: Path) -> None:
    loader = EvaluationLoader(open_split(digits, "test"), DataConfig(shards=digits, workers=0), 32, 60, 0, 1)
    batches = list(loader)
    network = extract(lively(SPACE), SPACE.smallest())
    normalise(batches[0].images)
    with Waits() as recalibrating:
        recalibrate(network, (normalise(batch.images) for batch in batches))
    assert recalibrating.found == []
    with Waits() as counting:
        count(network, batches, torch.device("cpu"))
    assert [wait.partition(" ")[0] for wait in counting.found] == ["tolist"]
    assert len(counting.moved) == 2 * len(batches)


def test_a_subnet_is_extracted_on_the_device_that_the_supernet_is_on() -> None:
    network = extract(lively(SPACE).to("meta"), SPACE.smallest())
    assert {tensor.device.type for tensor in network.state_dict().values()} == {"meta"}


@pytest.mark.parametrize(
    "waiting",
    [
        lambda x: x.sum().item(),
        lambda x: float(x.sum()),
        lambda x: bool(x.any()),
        lambda x: x.tolist(),
        lambda x: x.cpu(),
        lambda x: x.numpy(),
        lambda x: x.to(torch.device("cpu")),
        lambda x: torch.tensor([1.0], device="cpu"),
        lambda x: x.nonzero(),
        lambda x: torch.where(x),
        lambda x: x[x],
        lambda x: x.masked_select(x),
        lambda x: x.float().masked_fill(x, 0)[x],
        lambda x: x.unique(),
        lambda x: torch.equal(x, x),
        lambda x: x.float().index_put((x,), torch.zeros(())),
    ],
)
def test_whatever_waits_is_counted(waiting: Callable[[torch.Tensor], Any]) -> None:
    with Waits() as waits:
        waiting(torch.ones(4, dtype=torch.bool))
    assert len(waits.found) >= 1
    assert all("tests/pipeline/training/test_waits.py" in found for found in waits.found)


def test_what_does_not_wait_is_not_counted() -> None:
    x = torch.ones(4, 4, requires_grad=True)
    with Waits() as waits:
        y = x.to(torch.device("cpu"), non_blocking=True)[1:, None] * 2
        torch.where(y > 1, y, 0).float().sum().backward()
        x.new_zeros(3).scatter_add_(0, torch.arange(3), torch.ones(3))
    assert waits.found == []
