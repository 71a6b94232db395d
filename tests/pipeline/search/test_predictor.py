"""The predictor against normal equations by hand; and its file."""

import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import UsageError
from pipeline.search import predictor as module
from pipeline.search.encoding import Encoding, Rows
from pipeline.search.features import Features
from pipeline.search.predictor import Predictor
from pipeline.supernet.networks import NETWORKS

SPACE = NETWORKS["mobilenet_v3_digits"]
ENCODING = Encoding(SPACE)


def measured(count: int = 14) -> tuple[Rows, np.ndarray]:
    generator = np.random.default_rng(0)
    rows = np.unique(ENCODING.sample(count, generator), axis=0)
    sums = Features(ENCODING).sums(rows)
    return rows, 80 + sums @ np.arange(1, 7) + 2 * sums[:, 2] * sums[:, 3] + generator.normal(0, 0.1, len(rows))


def least_squares(columns: np.ndarray, targets: np.ndarray, strength: float, new: np.ndarray) -> np.ndarray:
    """Ridge with an intercept that is not held back, by the normal equations."""
    wide = np.concatenate([np.ones((len(columns), 1)), columns], axis=1)
    held = strength * np.diag([0.0, *np.ones(columns.shape[1])])
    solution = np.linalg.solve(wide.T @ wide + held, wide.T @ targets)
    return solution[0] + new @ solution[1:]


def test_it_is_the_least_squares_solution_that_predicts_left_out_subnets_best() -> None:
    rows, targets = measured()
    features = Features(ENCODING)
    new = ENCODING.sample(9, np.random.default_rng(5))
    tried = []
    for choices in module._CHOICES:
        for products in module._PRODUCTS:
            known, asked = (
                np.concatenate(
                    [choices * features.choices(each), features.sums(each), products * features.products(each)], axis=1
                )
                for each in (rows, new)
            )
            for strength in module._STRENGTHS:
                off = [
                    least_squares(np.delete(known, one, 0), np.delete(targets, one), strength, known[one])
                    - targets[one]
                    for one in range(len(rows))
                ]
                error = float(np.sqrt(np.mean(np.square(off))))
                tried.append((error, least_squares(known, targets, strength, asked)))
    error, predicted = min(tried, key=lambda each: each[0])
    found = Predictor.fit(ENCODING, rows, targets)
    assert found.error == pytest.approx(error, rel=1e-6)
    np.testing.assert_allclose(found(new), predicted, rtol=1e-7)
    assert found.samples == len(rows)


def test_products_are_believed_in_where_they_help_alone() -> None:
    rows = np.unique(ENCODING.sample(60, np.random.default_rng(1)), axis=0)
    sums = Features(ENCODING).sums(rows)
    with_products = Predictor.fit(ENCODING, rows, 80 + 9 * sums[:, 0] * sums[:, 3])
    assert with_products.products.any()
    noise = np.random.default_rng(2).normal(0, 0.3, len(rows))
    assert not Predictor.fit(ENCODING, rows, 80 + 9 * sums[:, 0] + noise).products.any()


def test_it_predicts_the_same_when_it_was_written_and_read(tmp_path: Path) -> None:
    found = Predictor.fit(ENCODING, *measured())
    found.write(tmp_path / "predictor.json")
    again = Predictor.read(tmp_path / "predictor.json", SPACE)
    rows = ENCODING.sample(20, np.random.default_rng(1))
    assert np.array_equal(again(rows), found(rows))
    assert (again.error, again.samples) == (found.error, found.samples)


def test_files_that_are_none_of_this_space_are_refused_in_a_line(tmp_path: Path) -> None:
    path = tmp_path / "predictor.json"
    with pytest.raises(UsageError, match="is no predictor: No such file"):
        Predictor.read(path, SPACE)
    Predictor.fit(ENCODING, *measured()).write(path)
    with pytest.raises(UsageError, match="is the predictor of another space"):
        Predictor.read(path, NETWORKS["proxyless_digits"])
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "intercept": 3}))
    with pytest.raises(UsageError, match="is damaged: its content is not that of its checksum"):
        Predictor.read(path, SPACE)
    del content["checksum"]
    path.write_text(json.dumps({**content, "sums": content["sums"][1:]}))
    with pytest.raises(UsageError, match="is damaged: sums: 5 coefficients, not 6"):
        Predictor.read(path, SPACE)
    path.write_text(json.dumps({**content, "sums": [*content["sums"][1:], "much"]}))
    with pytest.raises(UsageError, match=r"is damaged: sums\.5: "):
        Predictor.read(path, SPACE)
