"""One training step: the gradient is the method's sum, and each subnet learns from what the schedule says."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from kernels.losses.choice import losses_for
from pipeline.engines.optimizer import SgdConfig
from pipeline.engines.single import SingleEngine
from pipeline.methods.deps import DepsConfig
from pipeline.methods.entries import Reorganise
from pipeline.methods.learning_rate import LearningRateConfig
from pipeline.methods.losses import LabelCrossEntropy, SoftCrossEntropy, Targets
from pipeline.methods.phases import StepPlan
from pipeline.methods.schedule import Schedule
from pipeline.supernet.networks import NETWORKS
from pipeline.training.sandwich import sandwich_step
from tests.pipeline.supernet.test_supernet import images, lively

SPACE = NETWORKS["mobilenet_v3_digits"]
LABELS = torch.tensor([3, 1, 4, 1])
SMOOTHING = 0.1
KERNELS = losses_for("reference")


def plan(step: int = 1, distillation: str = "in_place") -> StepPlan:
    """Step 1 is in the middle of a ramp of four."""
    config = DepsConfig(
        duration="8 steps",
        full_model_warmup="4 steps",
        epsilon_ramp="4 steps",
        distillation=distillation,
        learning_rate=LearningRateConfig(base=0.1),
    )
    return Schedule(config, SPACE, steps_per_epoch=8, seed=0).at(step)


def smoothed_cross_entropy(logits: Tensor) -> Tensor:
    """In float64, by the definition: 1 − s on the label, s spread over all classes."""
    target = torch.full_like(logits, SMOOTHING / 10)
    target[torch.arange(4), LABELS] += 1 - SMOOTHING
    return -(target * logits.log_softmax(1)).sum(1).mean()


@pytest.mark.parametrize("distillation", ["in_place", "off"])
def test_the_gradient_is_full_plus_epsilon_times_the_sum_of_the_subnets(distillation: str) -> None:
    this = plan(distillation=distillation)
    assert 0.1 < this.epsilon < 0.9
    reference = lively(SPACE).double()
    pixels = images()
    full = reference(pixels.double(), this.slots[0].subnet)
    # Logits are float32 by contract; the loss is computed in float64 from there.
    full_loss = smoothed_cross_entropy(full.double())
    subnet_losses = []
    for slot in this.slots[1:]:
        logits = reference(pixels.double(), slot.subnet).double()
        teacher = full.detach().double().softmax(1)
        in_place = -(teacher * logits.log_softmax(1)).sum(1).mean()
        subnet_losses.append(in_place if distillation == "in_place" else smoothed_cross_entropy(logits))
    names, parameters = zip(*reference.named_parameters(), strict=True)
    total = full_loss + this.epsilon * sum(subnet_losses)
    expected = dict(zip(names, torch.autograd.grad(total, parameters, allow_unused=True), strict=True))

    supernet = lively(SPACE)
    engine = SingleEngine(supernet, SgdConfig())
    seen: dict[str, Tensor] = {}
    engine.optimizer.register_step_pre_hook(
        lambda *_: seen.update({name: each.grad.clone() for name, each in supernet.named_parameters()})
    )
    result = sandwich_step(engine, this, pixels, LABELS)

    for name, gradient in expected.items():
        wanted = torch.zeros_like(seen[name]) if gradient is None else gradient.float()
        torch.testing.assert_close(seen[name], wanted, atol=2e-5, rtol=2e-3)
    losses = [full_loss, *subnet_losses]
    torch.testing.assert_close(torch.stack(result.losses), torch.stack(losses).float().detach(), atol=1e-5, rtol=1e-5)
    norm = math.sqrt(sum(float((gradient.double() ** 2).sum()) for gradient in seen.values()))
    assert float(result.gradient_norm) == pytest.approx(norm, rel=1e-5)


def test_the_teacher_is_detached() -> None:
    """Distillation alone must not move the full model's own blocks, which the smallest subnet does not use."""
    this = plan()
    supernet = lively(SPACE)
    teacher = supernet(images(), this.slots[0].subnet)
    logits = supernet(images(), this.slots[1].subnet)
    this.slots[1].loss(logits, Targets(LABELS, full=teacher.detach()), KERNELS).backward()
    assert supernet.blocks[2].project.weight.grad is None
    assert supernet.blocks[1].project.weight.grad is not None


def test_distillation_has_its_minimum_at_the_teacher_and_scales_with_temperature_squared() -> None:
    teacher = torch.randn(4, 10, generator=torch.Generator().manual_seed(0))
    student = teacher.clone().requires_grad_()
    SoftCrossEntropy("full", 3)(student, Targets(LABELS, full=teacher), KERNELS).backward()
    assert student.grad is not None
    torch.testing.assert_close(student.grad, torch.zeros_like(student), atol=1e-6, rtol=0)
    other = torch.randn(4, 10, generator=torch.Generator().manual_seed(1))
    cold = SoftCrossEntropy("full", 1)(other / 3, Targets(LABELS, full=teacher / 3), KERNELS)
    hot = SoftCrossEntropy("full", 3)(other, Targets(LABELS, full=teacher), KERNELS)
    torch.testing.assert_close(hot, 9 * cold)


def test_weight_decay_and_momentum_act_on_parameters_that_no_subnet_used() -> None:
    supernet = lively(SPACE)
    engine = SingleEngine(supernet, SgdConfig(weight_decay=0.5))
    transform = supernet.blocks[1].depthwise.transforms["5to3"]  # the full model has no use for it
    before = transform.detach().clone()
    alone = plan(step=1)
    full_only = StepPlan(0, "full model", 0.1, alone.resolution, alone.slots[:1])
    sandwich_step(engine, full_only, images(), LABELS)
    # Nesterov's first step: decay · (1 + momentum) times the rate.
    torch.testing.assert_close(transform.detach(), before * (1 - 0.1 * 0.5 * 1.9))


def test_batch_norm_and_biases_are_not_decayed() -> None:
    supernet = lively(SPACE)
    engine = SingleEngine(supernet, SgdConfig(weight_decay=0.5))
    decay = {id(each): group["weight_decay"] for group in engine.optimizer.param_groups for each in group["params"]}
    for name, parameter in supernet.named_parameters():
        assert decay[id(parameter)] == (0.5 if parameter.ndim > 1 else 0.0), name
    assert len(decay) == len(list(supernet.parameters()))


def test_the_reference_cross_entropy_is_torchs() -> None:
    logits = torch.randn(4, 10, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(smoothed_cross_entropy(logits), F.cross_entropy(logits, LABELS, label_smoothing=0.1))


def soft(shares: Tensor) -> Tensor:
    """Labels of mixed images: each keeps its share, the next one's label gets the rest."""
    own, other = (F.one_hot(labels, 10) for labels in (LABELS, LABELS.roll(-1)))
    return shares[:, None] * own + (1 - shares[:, None]) * other


def test_mixed_labels_are_smoothed_too() -> None:
    logits = torch.randn(4, 10, generator=torch.Generator().manual_seed(2)).double()
    mixed = soft(torch.tensor([0.7, 1.0, 0.2, 0.5], dtype=torch.float64))
    target = (1 - SMOOTHING) * mixed + SMOOTHING / 10
    expected = -(target * logits.log_softmax(1)).sum(1).mean()
    loss = LabelCrossEntropy(SMOOTHING)
    torch.testing.assert_close(loss(logits, Targets(mixed), KERNELS), expected)
    whole = soft(torch.ones(4, dtype=torch.float64))
    from_classes = loss(logits, Targets(LABELS), KERNELS)
    torch.testing.assert_close(loss(logits, Targets(whole), KERNELS), from_classes)


def test_a_mixed_image_counts_as_right_where_its_greater_part_is_recognised() -> None:
    with torch.no_grad():
        guesses = lively(SPACE).train()(images(), SPACE.largest()).argmax(1)
    others = (guesses + 1) % 10
    own, other = F.one_hot(guesses, 10), F.one_hot(others, 10)
    for share, right in ((0.8, 4), (0.2, 0)):
        engine = SingleEngine(lively(SPACE), SgdConfig())
        result = sandwich_step(engine, plan(), images(), share * own + (1 - share) * other)
        assert (int(result.correct), result.correct.dtype) == (right, torch.int64)


def test_the_full_model_trains_on_through_the_sorting_of_channels() -> None:
    """Weights and momentum are sorted together: two runs, one of them sorted between steps, keep the same logits."""
    logits = []
    for sorted_between in (False, True):
        supernet = lively(SPACE)
        engine = SingleEngine(supernet, SgdConfig())
        alone = StepPlan(0, "full model", 0.05, plan().resolution, plan().slots[:1])
        for step in range(4):
            if step == 2 and sorted_between:
                before = supernet.blocks[1].project.weight.detach().clone()
                engine.load_state(Reorganise(SPACE)(engine.full_state()))
                assert not torch.equal(supernet.blocks[1].project.weight, before)
            sandwich_step(engine, alone, images(), LABELS)
        with torch.no_grad():
            logits.append(supernet(images(), SPACE.largest()))
    torch.testing.assert_close(logits[1], logits[0], atol=1e-4, rtol=1e-3)
