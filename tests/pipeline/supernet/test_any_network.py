"""A network that is a value of the space alone: it trains, extracts, counts and sorts as the others do."""

import copy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from kernels.dispatch import KernelChoice, KernelError, operations_for
from pipeline.engines.optimizer import SgdConfig
from pipeline.engines.single import SingleEngine
from pipeline.evaluation.recalibrate import recalibrate
from pipeline.methods.deps import DepsConfig
from pipeline.methods.learning_rate import LearningRateConfig
from pipeline.methods.losses import LossConfig
from pipeline.methods.schedule import Schedule
from pipeline.supernet.complexity import complexity
from pipeline.supernet.extract import extract, plain_network
from pipeline.supernet.networks import NETWORKS
from pipeline.supernet.supernet import Trunk
from pipeline.training.sandwich import sandwich_step
from tests.pipeline.supernet.spaces import OPEN, TOY
from tests.pipeline.supernet.test_complexity import counted
from tests.pipeline.supernet.test_supernet import images, lively, subnets

SPACES = {
    "toy": TOY,
    "open": OPEN,
    **{name: NETWORKS[f"{name}_digits"] for name in ("proxyless", "resnet50", "attentive_nas")},
}
LABELS = torch.arange(4)


@pytest.mark.parametrize("name", SPACES)
def test_an_extracted_subnet_gives_the_active_subnets_logits(name: str) -> None:
    space = SPACES[name]
    supernet = lively(space).eval()
    with torch.no_grad():
        for subnet in subnets(space):
            pixels = images(side=space.image_side(subnet))
            expected = supernet(pixels, subnet)
            assert expected.std() > 1e-3
            torch.testing.assert_close(extract(supernet, subnet)(pixels), expected, atol=1e-5, rtol=1e-5)
        supernet.double()
        for subnet in subnets(space):
            pixels = images(side=space.image_side(subnet)).double()
            torch.testing.assert_close(
                extract(supernet, subnet).double()(pixels), supernet(pixels, subnet), atol=1e-12, rtol=1e-12
            )


@pytest.mark.parametrize("name", SPACES)
def test_its_sizes_are_what_torchs_own_layers_do(name: str) -> None:
    space = SPACES[name]
    for subnet in subnets(space):
        macs, parameters = counted(plain_network(space, subnet).eval(), subnet.resolution)
        assert (complexity(space, subnet).macs, complexity(space, subnet).parameters) == (macs, parameters)


def test_the_toys_largest_subnet_has_the_macs_counted_by_hand() -> None:
    stem = 3 * 8 * 9 * 8**2
    first = 2 * (8 * 32 + 32 * 25 + 32 * 8) * 8**2  # both blocks alike
    second = 8 * 24 * 8**2 + 24 * 9 * 4**2 + 2 * 24 * 8 + 24 * 24 * 4**2 + 8 * 24 * 4**2  # the last: its shortcut
    third = (24 * 72 + 72 * 9 + 72 * 24) * 4**2 + 2 * 72 * 24
    assert complexity(TOY, TOY.largest()).macs == stem + first + second + third + 24 * 10


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("kernels", ["reference", "cpu"])
def test_a_sandwich_step_has_the_sum_of_its_subnets_gradients(name: str, kernels: KernelChoice) -> None:
    """Against separate backward passes through plain PyTorch; also where the trunk is nothing but the images."""
    try:
        operations_for(kernels, "cpu", torch.float32)
    except KernelError as error:
        pytest.skip(str(error))
    space = replace(SPACES[name], resolutions=(16,))
    plan = Schedule(
        DepsConfig(
            duration="2 steps", full_model_warmup="0 steps", epsilon_ramp="0 steps", distillation="off",
            learning_rate=LearningRateConfig(base=0.05),
        ), space, steps_per_epoch=2, seed=0, loss=LossConfig(label_smoothing=0),
    ).at(0)  # fmt: skip
    separate = lively(space).double()
    together = lively(space)
    together.kernels = kernels
    pixels = images(side=space.image_sides[-1])
    for slot in plan.slots:
        F.cross_entropy(separate(pixels.double(), slot.subnet).double(), LABELS).backward()
    engine = SingleEngine(together, SgdConfig(weight_decay=0))
    sandwich_step(engine, plan, pixels, LABELS)
    momentum = engine.full_state().momentum
    for key, parameter in separate.named_parameters():
        wanted = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        torch.testing.assert_close(momentum[key].double(), wanted, rtol=2e-3, atol=2e-5, msg=key)
    assert momentum[f"{space.stem[0].name}.weight"].abs().max() > 1e-4


def test_where_the_stem_varies_the_trunk_is_the_images() -> None:
    supernet = lively(OPEN)
    assert not supernet.shares_trunk
    assert torch.equal(supernet.trunk(images(), full=True).features, images())
    assert lively(TOY).shares_trunk
    assert lively(TOY).trunk(images(side=16), full=True).features.shape == (4, 8, 8, 8)


@pytest.mark.parametrize("name", SPACES)
def test_a_blank_one_has_the_same_state_and_computes_the_same_once_it_is_filled(name: str) -> None:
    space = SPACES[name]
    supernet = lively(space).eval()
    assert all(each.is_meta for each in supernet.blank().state_dict().values())
    other = supernet.blank("cpu")
    assert not other.training
    other.load_state_dict(supernet.state_dict())
    with torch.no_grad():
        assert torch.equal(other(images(), space.smallest()), supernet(images(), space.smallest()))
    assert len(supernet.units()) == len({id(unit) for unit in supernet.units()}) == len(supernet.blocks)


def test_logits_may_come_from_elsewhere() -> None:
    """As captured graphs do: whoever calls says so, the supernet keeps nothing."""
    supernet = lively(TOY)
    trunk = Trunk(torch.ones(1))
    assert torch.equal(supernet(trunk, TOY.largest(), lambda features: 2 * features), torch.tensor([2.0]))


def test_its_plain_network_can_be_copied_recalibrated_and_compiled_whole() -> None:
    network = extract(lively(TOY), TOY.largest())
    recalibrate(network, [images(side=16)])
    twin = copy.deepcopy(network)
    compiled = torch.compile(twin, backend="eager", fullgraph=True, dynamic=False)
    with torch.no_grad():
        expected: Tensor = network(images(side=16))
        assert torch.equal(compiled(images(side=16)), expected)
        for parameter in network.parameters():
            parameter.zero_()
        assert torch.equal(twin(images(side=16)), expected)
