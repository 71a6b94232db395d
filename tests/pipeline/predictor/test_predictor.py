"""The predictor: what it predicts, how it is fitted, how sampling picks by it, and which files it is not read from."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.model_selection import KFold

from pipeline.errors import UsageError
from pipeline.methods.attentive_nas import AttentiveNasConfig
from pipeline.methods.draws import Key
from pipeline.methods.learning_rate import LearningRateConfig
from pipeline.methods.sampling import AttentiveConfig
from pipeline.methods.schedule import Schedule
from pipeline.methods.work import training_macs
from pipeline.predictor import fit as fitting
from pipeline.predictor.encoding import Encoding
from pipeline.predictor.features import Features
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
    subnets = random_subnets(space, count)
    return fit(Encoding(space), Encoding(space).encode(subnets), np.array([quality(each) for each in subnets]))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    fitted().written("mobilenet_v3_digits", 500).write(tmp_path / "predictor.json")
    return tmp_path / "predictor.json"


def least_squares(columns: np.ndarray, targets: np.ndarray, strength: float, new: np.ndarray) -> np.ndarray:
    """Ridge with an intercept that is not held back, by the normal equations."""
    wide = np.concatenate([np.ones((len(columns), 1)), columns], axis=1)
    held = strength * np.diag([0.0, *np.ones(columns.shape[1])])
    solution = np.linalg.solve(wide.T @ wide + held, wide.T @ targets)
    return solution[0] + new @ solution[1:]


@pytest.mark.parametrize("network", ["mobilenet_v3", "attentive_nas"])
def test_it_is_the_least_squares_solution_that_predicts_left_out_subnets_best(network: str) -> None:
    encoding, generator = Encoding(NETWORKS[f"{network}_digits"]), np.random.default_rng(0)
    features = Features(encoding)
    rows = np.unique(encoding.sample(14, generator), axis=0)
    new = encoding.sample(9, generator)
    sums = features.sums(rows)
    targets = 80 + sums.sum(axis=1) + 2 * sums[:, 2] * sums[:, 3] + generator.normal(0, 0.1, len(rows))
    everyone = range(len(rows))
    tried = []
    for choices in fitting._CHOICES:
        for products in fitting._PRODUCTS:
            known, asked = (
                np.concatenate(
                    [choices * features.choices(each), features.sums(each), products * features.products(each)], axis=1
                )
                for each in (rows, new)
            )

            def without(left: list[int], strength: float, known: np.ndarray = known) -> np.ndarray:
                rest = np.delete(known, left, 0), np.delete(targets, left)
                return least_squares(*rest, strength, known[left]) - targets[left]

            for strength in fitting._STRENGTHS:
                error = np.mean([float(without([one], strength)[0]) ** 2 for one in everyone])
                folds = KFold(5, shuffle=True, random_state=0).split(rows)
                off = np.concatenate([without(left.tolist(), strength) for _, left in folds])
                predicted = least_squares(known, targets, strength, asked)
                tried.append((error, predicted, float(np.sqrt(np.mean(off**2)))))
    _, predicted, error = min(tried, key=lambda each: each[0])
    found = fit(encoding, rows, targets)
    np.testing.assert_allclose(found(new), predicted, rtol=1e-7)
    assert found.error == pytest.approx(error, rel=1e-4)
    assert found.of(encoding.decode(new[0])) == pytest.approx(found(new)[0], rel=1e-12)


def test_products_are_believed_in_where_they_help_alone() -> None:
    encoding = Encoding(SPACE)
    rows = np.unique(encoding.sample(60, np.random.default_rng(1)), axis=0)
    sums = Features(encoding).sums(rows)
    assert fit(encoding, rows, 80 + 9 * sums[:, 0] * sums[:, 3]).products.any()
    noise = np.random.default_rng(2).normal(0, 0.3, len(rows))
    assert not fit(encoding, rows, 80 + 9 * sums[:, 0] + noise).products.any()


def test_what_is_a_sum_over_choices_is_predicted_and_what_is_noise_is_not() -> None:
    predictor, encoding = fitted(), Encoding(SPACE)
    assert predictor.rank_correlation > 0.99
    assert predictor.error < 0.1
    for subnet in (SPACE.smallest(), SPACE.largest()):
        assert predictor.of(subnet) == pytest.approx(quality(subnet), abs=0.2)
    rows = encoding.encode(random_subnets(SPACE, 60))
    nothing = fit(encoding, rows, np.random.default_rng(1).normal(size=len(rows)))
    assert abs(nothing.rank_correlation) < 0.5
    constant = fit(encoding, rows, np.full(len(rows), 10.0))
    assert (constant.rank_correlation, constant.error) == (0.0, pytest.approx(0))


def test_a_resolution_that_it_was_not_fitted_at_is_refused() -> None:
    with pytest.raises(SubnetError, match="resolution 28 is none of"):
        fitted().of(SPACE.parse("d1-k3-e3-r28"))


def test_it_is_read_as_it_was_written(file: Path) -> None:
    found, expected = read_predictor(file, SPACE, KEY), fitted()
    rows = Encoding(SPACE).every()
    assert np.array_equal(found(rows), expected(rows))
    assert found.written("", 1) == expected.written("", 1)


def test_what_the_file_says_is_what_is_predicted(file: Path) -> None:
    """By its names alone, as who reads the file would."""
    content = json.loads(file.read_text())
    predictor, subnet = read_predictor(file, SPACE, KEY), SPACE.parse("d1.2-k5.35-e4.36-r32")
    chosen = {"depth 1": 1, "depth 2": 2, "kernel 1.1": 5, "kernel 2.1": 3, "kernel 2.2": 5, "resolution": 32}
    chosen |= {"expand 1.1": 4, "expand 2.1": 3, "expand 2.2": 6}
    shares = {
        "depth 1": 0,
        "depth 2": 1,
        "kernels 1": 2 / 7,
        "kernels 2": 5 / 7,
        "expands 1": 1 / 9,
        "expands 2": 6 / 9,
    }
    total = content["intercept"] + sum(content["contributions"][name][str(value)] for name, value in chosen.items())
    total += sum(weight * shares[name] for name, weight in content["sums"].items())
    for pair, weight in content["products"].items():
        one, other = pair.split(" * ")
        total += weight * shares[one] * shares[other]
    assert predictor.of(subnet) == pytest.approx(total, rel=1e-12)


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
            lambda file: rewritten(file, lambda content: content["sums"].update({"widths 9": 1.0})),
            "does not fit: it has widths 9, which is nothing here",
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
            accuracies = [predictor.of(each) for each in tried[place].candidates]
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
