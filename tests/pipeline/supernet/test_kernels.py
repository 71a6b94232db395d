"""The supernet with fast kernels against the supernet in plain PyTorch."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from kernels.dispatch import KernelChoice, KernelError, operations_for
from pipeline.engines.optimizer import SgdConfig
from pipeline.engines.single import SingleEngine
from pipeline.methods.deps import DepsConfig
from pipeline.methods.learning_rate import LearningRateConfig
from pipeline.methods.losses import LossConfig
from pipeline.methods.schedule import Schedule
from pipeline.supernet.networks import NETWORKS
from pipeline.supernet.supernet import Supernet
from pipeline.training.sandwich import sandwich_step
from tests.pipeline.supernet.test_supernet import images, lively, subnets

SPACE = NETWORKS["mobilenet_v3_digits"]
LABELS = torch.arange(16) % 10


@pytest.fixture(autouse=True)
def kernels() -> None:
    try:
        operations_for("cpu", "cpu", torch.float32)
    except KernelError as error:
        pytest.skip(str(error))


def logits_and_gradients(supernet: Supernet, pixels: Tensor, number: int) -> dict[str, Tensor]:
    subnet = subnets(SPACE)[number]
    logits = supernet(pixels, subnet)
    F.cross_entropy(logits, LABELS).backward()
    found = {name: each.grad.double() for name, each in supernet.named_parameters() if each.grad is not None}
    return {"logits": logits.detach().double(), **found}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("number", range(6))
def test_logits_and_gradients_are_as_exact_as_those_of_plain_pytorch(number: int, training: bool) -> None:
    """Against float64. Rounding grows through some thirty layers; the kernels may lose no more than plain PyTorch."""
    exact = lively(SPACE).double().train(training)
    plain, fast = lively(SPACE).train(training), lively(SPACE).train(training)
    plain.kernels, fast.kernels = "reference", "cpu"
    pixels = images(16)
    wanted = logits_and_gradients(exact, pixels.double(), number)
    one, other = (logits_and_gradients(each, pixels, number) for each in (plain, fast))
    assert wanted.keys() == one.keys() == other.keys()

    def error(found: dict[str, Tensor]) -> float:
        """Root of the mean squared error over everything, each tensor in units of its own size."""
        parts = [(found[name] - each).norm() / each.norm() for name, each in wanted.items() if each.norm() > 1e-6]
        return float(torch.stack(parts).square().mean().sqrt())

    assert error(other) < 1e-5
    assert error(other) <= 2 * error(one)
    if training:
        for name, buffer in exact.named_buffers():
            torch.testing.assert_close(fast.get_buffer(name).double(), buffer, rtol=1e-4, atol=1e-5)


def test_twenty_steps_of_training_stay_as_near_to_float64_as_those_of_plain_pytorch() -> None:
    """Training doubles any rounding every few steps, so what counts is who strays farther."""
    config = DepsConfig(
        duration="20 steps",
        full_model_warmup="8 steps",
        epsilon_ramp="4 steps",
        learning_rate=LearningRateConfig(base=0.05),
    )
    schedule = Schedule(config, SPACE, steps_per_epoch=20, seed=0)

    def losses(choice: KernelChoice, dtype: torch.dtype) -> Tensor:
        supernet = lively(SPACE).to(dtype)
        supernet.kernels = choice
        engine = SingleEngine(supernet, SgdConfig())
        pixels = images(16).to(dtype)
        steps = [sandwich_step(engine, schedule.at(step), pixels, LABELS) for step in range(20)]
        return torch.stack([loss for step in steps for loss in step.losses]).double()

    exact, plain, fast = losses("auto", torch.float64), losses("reference", torch.float32), losses("cpu", torch.float32)
    assert exact[-4] < 0.9 * exact[0], "nothing was learnt, so nothing is compared"
    astray = float((plain - exact).abs().max())
    assert float((fast - exact).abs().max()) < 3 * astray < 0.01


def test_gradients_of_a_shared_trunk_are_those_of_a_trunk_for_each_subnet() -> None:
    """A sandwich against the sum of separate backward passes."""
    supernet = lively(SPACE)
    separate = copy.deepcopy(supernet)
    config = DepsConfig(
        duration="2 steps", full_model_warmup="0 steps", epsilon_ramp="0 steps", distillation="off",
        learning_rate=LearningRateConfig(base=0.05),
    )  # fmt: skip
    plan = Schedule(config, SPACE, steps_per_epoch=2, seed=0, loss=LossConfig(label_smoothing=0)).at(0)
    assert len(plan.slots) == 4
    for slot in plan.slots:
        F.cross_entropy(separate(images(16), slot.subnet), LABELS).backward()
    engine = SingleEngine(supernet, SgdConfig())
    seen: dict[str, Tensor] = {}
    engine.optimizer.register_step_pre_hook(
        lambda *_: seen.update({name: each.grad.clone() for name, each in supernet.named_parameters()})
    )
    sandwich_step(engine, plan, images(16), LABELS)
    for name, parameter in separate.named_parameters():
        wanted = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        torch.testing.assert_close(seen[name], wanted, rtol=1e-3, atol=1e-5)
    assert seen["stem.weight"].abs().max() > 1e-3
    torch.testing.assert_close(supernet.stem_bn.running_mean, separate.stem_bn.running_mean)
