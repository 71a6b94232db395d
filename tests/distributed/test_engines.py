"""Every engine, on two processes, trains the weights that a hand-written step on one process trains."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch.func import functional_call

from tests.distributed import engine_worker as worker
from tests.distributed.processes import run

TOLERANCE = 1e-6


def hand_written_training(halves: int, clip: float | None) -> dict:
    """Five steps with nothing of the engines: autograd's sum over sub-steps and halves, Nesterov by hand.

    Batch norm sees each half of the batch by itself, as each process does.
    """
    model, plan_of, config = worker.supernet(), worker.schedule(), worker.optimizer(clip)
    parameters = dict(model.named_parameters())
    momentum = {name: torch.zeros_like(parameter) for name, parameter in parameters.items()}
    statistics = [{name: buffer.clone() for name, buffer in model.named_buffers()} for _ in range(halves)]
    norms = []
    for step in range(worker.STEPS):
        plan = plan_of.at(step)
        images, labels = worker.batch(step)
        total = torch.zeros(())
        for own, half_images, half_labels in zip(statistics, images.chunk(halves), labels.chunk(halves), strict=True):
            full = functional_call(model, {**parameters, **own}, (half_images, plan.slots[0].subnet))
            total = total + F.cross_entropy(full, half_labels, label_smoothing=0.1) / halves
            for slot in plan.slots[1:]:
                target = full.detach().softmax(1)
                loss = -(target * model(half_images, slot.subnet).log_softmax(1)).sum(1).mean()
                total = total + plan.epsilon * loss / halves
        gradients = torch.autograd.grad(total, list(parameters.values()), allow_unused=True)
        filled = {
            name: torch.zeros_like(parameter) if gradient is None else gradient
            for (name, parameter), gradient in zip(parameters.items(), gradients, strict=True)
        }
        norm = torch.sqrt(sum((gradient.double() ** 2).sum() for gradient in filled.values())).item()
        norms.append(norm)
        scale = 1.0 if clip is None else min(1.0, clip / (norm + 1e-6))
        with torch.no_grad():
            for name, parameter in parameters.items():
                decay = config.weight_decay if parameter.ndim > 1 else 0.0
                gradient = filled[name] * scale + decay * parameter
                momentum[name] = config.momentum * momentum[name] + gradient
                parameter -= plan.learning_rate * (gradient + config.momentum * momentum[name])
    averaged = {name: torch.stack([own[name] for own in statistics]).mean(0) for name in statistics[0]}
    return {"weights": {**model.state_dict(), **averaged}, "momentum": momentum, "norms": norms}


CLIPS = [0.0, 0.5]
ON_ONE_PROCESS = [f"{engine}-{clip}" for engine in ("single-0", "deepspeed-0") for clip in CLIPS]
ON_TWO_PROCESSES = [
    f"{engine}-{clip}" for engine in ("ddp-0", "deepspeed-0", "deepspeed-1", "deepspeed-2") for clip in CLIPS
]


@pytest.fixture(scope="module")
def trained_on_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("two")
    run([worker.__file__, str(out), *ON_TWO_PROCESSES], world=2)
    return out


@pytest.fixture(scope="module")
def trained_on_one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("one")
    run([worker.__file__, str(out), *ON_ONE_PROCESS], world=1)
    return out


@pytest.mark.distributed
@pytest.mark.parametrize("case", ON_TWO_PROCESSES)
def test_two_processes_train_what_one_hand_written_process_trains(case: str, trained_on_two: Path) -> None:
    clip = float(case.rsplit("-")[-1]) or None
    assert_same(torch.load(trained_on_two / f"{case}.pt"), hand_written_training(2, clip))


@pytest.mark.parametrize("case", ON_ONE_PROCESS)
def test_one_process_trains_what_the_hand_written_step_trains(case: str, trained_on_one: Path) -> None:
    clip = float(case.rsplit("-")[-1]) or None
    assert_same(torch.load(trained_on_one / f"{case}.pt"), hand_written_training(1, clip))


def assert_same(actual: dict, expected: dict) -> None:
    assert set(actual["weights"]) == set(expected["weights"])
    assert set(actual["momentum"]) == set(expected["momentum"])
    for name, tensor in expected["weights"].items():
        # Running variances may be large numbers: relative to them, the same tolerance.
        relative = TOLERANCE if name.endswith(("running_mean", "running_var")) else 0
        torch.testing.assert_close(actual["weights"][name], tensor, atol=TOLERANCE, rtol=relative)
    for name, momentum in expected["momentum"].items():
        torch.testing.assert_close(actual["momentum"][name], momentum, atol=1e-5, rtol=1e-4)
    assert actual["norms"] == pytest.approx(expected["norms"], rel=1e-4)
