"""Sorting channels by importance keeps the full model and improves subnets that were never trained."""

import torch
import torch.nn.functional as F
from torch import Tensor

from data_shards.sources.digits import scanned_digits
from pipeline.evaluation.recalibrate import recalibrate
from pipeline.supernet.extract import extract
from pipeline.supernet.networks import NETWORKS
from pipeline.supernet.reorganise import channel_groups, channel_orders, reorganise
from pipeline.supernet.space import Space
from pipeline.supernet.supernet import Supernet
from tests.pipeline.supernet.test_supernet import images, lively


def reorganised(supernet: Supernet) -> Supernet:
    state = supernet.state_dict()
    sorted_supernet = Supernet(supernet.space)
    orders = channel_orders(state, channel_groups(supernet.space))
    sorted_supernet.load_state_dict(reorganise(state, orders))
    return sorted_supernet


def test_the_full_models_logits_do_not_change() -> None:
    for network in ("mobilenet_v3", "mobilenet_v3_digits"):
        space = NETWORKS[network]
        before = lively(space).eval()
        after = reorganised(before).eval()
        assert not torch.equal(before.blocks[1].project.weight, after.blocks[1].project.weight)
        with torch.no_grad():
            expected = before(images(), space.largest())
            assert expected.std() > 1e-3
            torch.testing.assert_close(after(images(), space.largest()), expected, atol=1e-4, rtol=1e-4)


def test_importance_descends_afterwards() -> None:
    supernet = reorganised(lively(NETWORKS["mobilenet_v3"]))
    for block in list(supernet.blocks)[1:]:
        importance = block.project.weight.abs().sum((0, 2, 3))
        assert torch.all(importance[:-1] >= importance[1:])
        if hasattr(block, "squeeze_excite"):
            reduced = block.squeeze_excite.expand.weight.abs().sum(0)
            assert torch.all(reduced[:-1] >= reduced[1:])


def test_a_second_sort_changes_nothing() -> None:
    once = reorganised(lively(NETWORKS["mobilenet_v3_digits"]))
    twice = reorganised(once)
    for name, tensor in once.state_dict().items():
        assert torch.equal(tensor, twice.state_dict()[name])


def test_momentum_is_sorted_with_the_weights() -> None:
    """Sorting and then stepping is stepping and then sorting in the same order."""
    space = NETWORKS["mobilenet_v3_digits"]
    state = lively(space).state_dict()
    orders = channel_orders(state, channel_groups(space))
    momentum = {name: torch.randn_like(tensor) for name, tensor in state.items()}
    stepped = {name: tensor - 0.1 * momentum[name] for name, tensor in state.items()}
    sorted_state, sorted_momentum = reorganise(state, orders), reorganise(momentum, orders)
    for name, expected in reorganise(stepped, orders).items():
        torch.testing.assert_close(sorted_state[name] - 0.1 * sorted_momentum[name], expected)


def test_untrained_small_subnets_agree_more_with_the_trained_full_model() -> None:
    space = NETWORKS["mobilenet_v3_digits"]
    scans, labels = (torch.from_numpy(array) for array in scanned_digits())
    pixels = F.interpolate(scans.float()[:, None] / 8 - 1, size=(32, 32), mode="bilinear").expand(-1, 3, -1, -1)
    supernet = train_full_model(space, pixels, labels.long())
    before, after = (agreement(each, pixels[:400]) for each in (supernet, reorganised(supernet)))
    assert after > before + 0.05


def train_full_model(space: Space, pixels: Tensor, labels: Tensor) -> Supernet:
    torch.manual_seed(0)
    supernet = Supernet(space)
    optimizer = torch.optim.SGD(supernet.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-4)
    for _ in range(90):
        batch = torch.randint(len(pixels), (64,))
        optimizer.zero_grad()
        F.cross_entropy(supernet(pixels[batch], space.largest()), labels[batch]).backward()
        optimizer.step()
    return supernet.eval()


@torch.no_grad()
def agreement(supernet: Supernet, pixels: Tensor) -> float:
    """Share of images that narrow subnets, recalibrated, classify as the full model does."""
    space = supernet.space
    full = supernet(pixels, space.largest()).argmax(1)
    shares = []
    for expand in space.stages[0].expands[:-1]:
        network = extract(supernet, space.uniform(expand=expand))
        recalibrate(network, pixels.split(100))
        shares.append((network(pixels).argmax(1) == full).float().mean())
    return float(torch.stack(shares).mean())
