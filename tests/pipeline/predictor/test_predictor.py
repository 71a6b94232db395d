"""The predictor: what it predicts, how it is fitted, how sampling picks by it, and which files it is not read from."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.errors import UsageError
from pipeline.methods.attentive_nas import AttentiveNasConfig
from pipeline.methods.draws import Key
from pipeline.methods.learning_rate import LearningRateConfig
from pipeline.methods.sampling import AttentiveConfig
from pipeline.methods.schedule import Schedule
from pipeline.methods.work import training_macs
from pipeline.predictor.encoding import encode
from pipeline.predictor.fit import fit
from pipeline.predictor.predictor import Predictor, read_predictor
from pipeline.recipe.reading import load_recipe
from pipeline.recipe.recipe import anchored
from pipeline.supernet.complexity import complexity
from pipeline.supernet.networks import NETWORKS
from pipeline.supernet.space import Space
from pipeline.supernet.subnet import Subnet, SubnetError
from tests.support.processes import REPOSITORY

SPACE = NETWORKS["mobilenet_v3_digits"]  # two stages of one or two blocks, kernels 3 5, ratios 3 4 6, 32 px
KEY = "schedule.sampling.predictor"


def random_subnets(space: Space, count: int) -> list[Subnet]:
    generator = torch.Generator().manual_seed(3)
    return list(dict.fromkeys(space.sample(generator) for _ in range(count)))


def quality(subnet: Subnet) -> float:
    """An accuracy that is a sum over choices: deeper, wider and with larger kernels is better."""
    return 60 + sum(2 + 0.5 * block.kernel + block.expand for stage in subnet.stages for block in stage.blocks)


def fitted(space: Space = SPACE, count: int = 60) -> Predictor:
    return fit("mobilenet_v3_digits", space, [(each, quality(each)) for each in random_subnets(space, count)], 500)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    fitted().write(tmp_path / "predictor.json")
    return tmp_path / "predictor.json"


def test_a_subnet_is_a_one_for_each_value_that_it_chooses_and_none_for_blocks_that_it_leaves_out() -> None:
    encoded = encode(SPACE, SPACE.parse("d1.2-k3.53-e6.34-r32"))
    depths = [1, 0, 0, 1]
    kernels = [1, 0, 0, 0, 0, 1, 1, 0]  # of blocks 1.1, 1.2, 2.1, 2.2
    expands = [0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0]
    assert encoded.tolist() == [*depths, *kernels, *expands, 1]
    with pytest.raises(SubnetError, match="resolution 28 is none of the space's"):
        encode(SPACE, SPACE.parse("d1-k3-e3-r28"))


def test_what_is_predicted_is_the_dot_product_of_encoding_and_contributions() -> None:
    predictor = fitted()
    weights = np.array([value for values in predictor.contributions.values() for value in values.values()])
    for subnet in random_subnets(SPACE, 20):
        expected = predictor.intercept + float(encode(SPACE, subnet) @ weights)
        assert predictor(SPACE, subnet) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("network", ["mobilenet_v3", "proxyless", "resnet50", "attentive_nas"])
def test_it_is_the_ridge_regression_of_one_of_the_penalties(network: str) -> None:
    """Against its closed form, in float64: (XᵀX + αI)⁻¹ Xᵀy of centred X and y."""
    space = NETWORKS[f"{network}_digits"]
    noise = np.random.default_rng(0)
    measured = [(each, quality(each) + noise.normal()) for each in random_subnets(space, 40)]
    predictor = fit(network, space, measured, 500)
    inputs = np.stack([encode(space, subnet) for subnet, _ in measured])
    outputs = np.array([accuracy for _, accuracy in measured])
    centred = inputs - inputs.mean(0)
    found = np.array([value for values in predictor.contributions.values() for value in values.values()])
    apart = []
    for power in range(-3, 4):
        penalty = 10.0**power * np.eye(len(found))
        expected = np.linalg.solve(centred.T @ centred + penalty, centred.T @ (outputs - outputs.mean()))
        apart.append(np.abs(expected - found).max())
    assert min(apart) < 1e-8
    assert predictor.intercept == pytest.approx(outputs.mean() - inputs.mean(0) @ found, rel=1e-9)


def test_what_is_a_sum_over_choices_is_predicted_and_what_is_noise_is_not() -> None:
    predictor = fitted()
    assert predictor.rank_correlation > 0.99
    assert predictor.mean_error < 0.1
    for subnet in (SPACE.smallest(), SPACE.largest()):
        assert predictor(SPACE, subnet) == pytest.approx(quality(subnet), abs=0.2)
    noise = np.random.default_rng(1)
    nothing = fit("", SPACE, [(each, noise.normal()) for each in random_subnets(SPACE, 60)], 500)
    assert abs(nothing.rank_correlation) < 0.5
    constant = fit("", SPACE, [(each, 10.0) for each in random_subnets(SPACE, 60)], 500)
    assert (constant.rank_correlation, constant.mean_error) == (0.0, pytest.approx(0))


def test_it_is_read_as_it_was_written(file: Path) -> None:
    assert read_predictor(file, SPACE, KEY) == fitted()


def rewritten(file: Path, change) -> None:
    content = json.loads(file.read_text())
    del content["checksum"]
    change(content)
    file.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda file: file.unlink(), "No such file or directory; deps predictor makes one"),
        (lambda file: file.write_text(file.read_text()[:200]), "is damaged, or no predictor: not JSON"),
        (
            lambda file: file.write_text(file.read_text().replace('"images": 500', '"images": 501')),
            "is damaged, or no predictor: its content is not that of its checksum",
        ),
        (
            lambda file: rewritten(file, lambda content: content["contributions"].pop("depth 2")),
            "is of mobilenet_v3_digits and does not fit: it lacks depth 2",
        ),
        (
            lambda file: rewritten(file, lambda content: content["contributions"]["kernel 1.2"].pop("5")),
            "does not fit: its kernel 1.2 is one of 3, here of 3, 5",
        ),
        (
            lambda file: rewritten(file, lambda content: content.update(intercept="high")),
            "is damaged, or no predictor: intercept: ",
        ),
        (lambda file: file.write_text("[]"), "is damaged, or no predictor"),
    ],
)
def test_what_is_none_of_the_network_is_refused_in_one_line(file: Path, change, complaint: str) -> None:
    change(file)
    with pytest.raises(UsageError) as refusal:
        read_predictor(file, SPACE, KEY)
    assert str(refusal.value).startswith(f"{KEY}: {file}: ")
    assert complaint in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("network", ["proxyless", "resnet50", "attentive_nas"])
def test_another_networks_is_refused(file: Path, network: str) -> None:
    with pytest.raises(UsageError, match="is of mobilenet_v3_digits and does not fit"):
        read_predictor(file, NETWORKS[f"{network}_digits"], KEY)


def attentive(**sampling: object) -> Schedule:
    config = AttentiveNasConfig(
        duration="10 steps",
        learning_rate=LearningRateConfig(base=0.1),
        sampling=AttentiveConfig.model_validate({"table": 100, "candidates": 5, **sampling}),
    )
    return Schedule(config, SPACE, 10, seed=0)


@pytest.mark.parametrize("pick", ["best", "worst"])
def test_a_slot_takes_the_candidate_of_the_highest_or_lowest_accuracy(file: Path, pick: str) -> None:
    predictor = read_predictor(file, SPACE, KEY)
    schedule, by_loss = attentive(predictor=file, pick=pick), attentive(pick=pick)
    others = 0
    for step in range(10):
        slots, tried = schedule.at(step).slots, by_loss.at(step).slots
        for place in (1, 2):
            accuracies = [predictor(SPACE, each) for each in tried[place].candidates]
            chosen = max(accuracies) if pick == "best" else min(accuracies)
            assert slots[place].subnet == tried[place].candidates[accuracies.index(chosen)]
            assert (slots[place].candidates, slots[place].pick) == ((), None)
            others += slots[place].subnet != tried[place].candidates[0]
    assert others > 5
    rule = schedule.phases[0].slots[1]
    assert rule.draw(Key(0, 4, 1)) == rule.draw(Key(0, 4, 1)) == schedule.at(4).slots[1].subnet


def test_candidates_cost_nothing_then(file: Path) -> None:
    plan = attentive(predictor=file).at(3)
    assert training_macs(SPACE, plan) == 3 * sum(complexity(SPACE, slot.subnet).macs for slot in plan.slots)


def test_a_recipe_that_is_sent_elsewhere_names_the_file_by_its_whole_path() -> None:
    sampling = "schedule.sampling={name: attentive, predictor: here.json}"
    recipe = load_recipe(REPOSITORY / "recipes" / "digits100_deps.yaml", [sampling])
    assert anchored(recipe).schedule.predictor == Path("here.json").absolute()
    plain = load_recipe(REPOSITORY / "recipes" / "digits100_ofa.yaml")
    assert anchored(plain).schedule == plain.schedule
