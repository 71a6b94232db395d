"""A sandwich step on a GPU: exact enough, without waiting for the device, from graphs, without compiling anew."""

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor

from data_shards.loading.loader import DataConfig
from data_shards.store.index import open_split
from pipeline.engines.optimizer import SgdConfig
from pipeline.engines.single import SingleEngine
from pipeline.evaluation.config import EvaluationConfig
from pipeline.evaluation.evaluate import Evaluator
from pipeline.methods.deps import DepsConfig
from pipeline.methods.learning_rate import LearningRateConfig
from pipeline.methods.schedule import Schedule
from pipeline.processes.group import Processes
from pipeline.supernet.graphs import Graphs, capture
from pipeline.supernet.networks import NETWORKS
from pipeline.supernet.supernet import Supernet
from pipeline.training.sandwich import StepResult, sandwich_step
from tests.pipeline.supernet.test_supernet import lively
from tests.support.trainers import VARIED, digits_recipe, digits_trainer

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine"),
]

SPACE = NETWORKS["mobilenet_v3_digits"]
CONFIG = DepsConfig(
    duration="20 steps",
    full_model_warmup="0 steps",
    epsilon_ramp="0 steps",
    learning_rate=LearningRateConfig(base=0.05),
)
SCHEDULE = Schedule(CONFIG, SPACE, steps_per_epoch=20, seed=0)


def batch() -> tuple[Tensor, Tensor]:
    torch.manual_seed(3)
    images = torch.randn(32, 3, 32, 32, device="cuda").to(memory_format=torch.channels_last)
    return images, torch.arange(32, device="cuda") % 10


def supernet_on_gpu(bf16: bool) -> Supernet:
    supernet = lively(SPACE).cuda()
    supernet.bf16 = bf16
    return supernet


def train(supernet: Supernet, steps: int, graphs: Graphs | None = None) -> list[StepResult]:
    engine = SingleEngine(supernet, SgdConfig())
    engine.graphs = graphs or {}
    images, labels = batch()
    return [sandwich_step(engine, SCHEDULE.at(step), images, labels) for step in range(steps)]


def losses(results: list[StepResult]) -> Tensor:
    return torch.stack([loss for result in results for loss in result.losses]).double().cpu()


@pytest.mark.parametrize("bf16", [False, True])
def test_twenty_steps_stay_as_near_to_float64_as_those_of_plain_pytorch(bf16: bool) -> None:
    exact = lively(SPACE).double()
    engine, (images, labels) = SingleEngine(exact, SgdConfig()), batch()
    images, labels = images.double().cpu(), labels.cpu()
    wanted = losses([sandwich_step(engine, SCHEDULE.at(step), images, labels) for step in range(20)])
    plain, fast = supernet_on_gpu(bf16), supernet_on_gpu(bf16)
    plain.kernels, fast.kernels = "reference", "triton"
    astray, mine = (float((losses(train(each, 20)) - wanted).abs().mean()) for each in (plain, fast))
    assert mine < 2 * astray


def test_a_whole_step_with_everything_on_never_waits_for_the_device(digits: Path, tmp_path: Path) -> None:
    """From the reader's batch to the updated weights. What CUDA cannot tell on other machines, `test_waits` counts."""
    phases = ["schedule.duration=20 steps", "schedule.full_model_warmup=4 steps", "schedule.epsilon_ramp=2 steps"]
    phases += ["schedule.reorganise=false", "evaluation.full_when_shrinking=0"]
    recipe = digits_recipe(digits, tmp_path, *VARIED, *phases)
    trainer, _ = digits_trainer(recipe, Processes(0, 1, torch.device("cuda", 0)))
    read = [(trainer.schedule.at(step), trainer.feed.read(False)) for step in range(6)]  # two of each phase
    for plan, batch in read:  # compiles, and tunes
        trainer.step(plan, batch)
    trainer.figures.interval.wait()
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for plan, batch in read:
            trainer.step(plan, batch)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_accuracies_are_those_of_a_cpu_whatever_the_precision_of_training(digits: Path) -> None:
    splits = open_split(digits, "train"), open_split(digits, "test")
    config = EvaluationConfig(recalibration_samples=64, batch_size=64)
    found = []
    for device, bf16 in ((torch.device("cpu"), False), (torch.device("cuda", 0), True)):
        evaluator = Evaluator(*splits, DataConfig(shards=digits, workers=0), config, Processes(0, 1, device))
        supernet = lively(SPACE).to(device)
        supernet.bf16 = bf16
        found.append([evaluator.full_model(supernet), evaluator.subnet(supernet, SPACE.smallest())])
    for on_cpu, on_gpu in zip(*found, strict=True):
        assert on_gpu.loss == pytest.approx(on_cpu.loss, rel=1e-4)
        assert on_gpu.top1 == pytest.approx(on_cpu.top1, abs=0.6)  # two images


def test_graphs_replay_what_eager_kernels_compute() -> None:
    eager = supernet_on_gpu(False)
    replayed = copy.deepcopy(eager)
    before = {name: tensor.clone() for name, tensor in replayed.state_dict().items()}
    graphs = capture(replayed, (SPACE.largest(), SPACE.smallest()), batch()[0])
    for name, tensor in replayed.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    one, other = losses(train(eager, 5)), losses(train(replayed, 5, graphs))
    torch.testing.assert_close(other, one, rtol=1e-5, atol=1e-5)
    for name, tensor in eager.state_dict().items():
        torch.testing.assert_close(replayed.state_dict()[name], tensor, rtol=1e-3, atol=1e-5)
