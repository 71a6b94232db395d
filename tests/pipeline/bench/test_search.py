"""`deps bench search`: the formula is the one that its file describes, and every contender is told and kept."""

import csv
import json
from itertools import combinations_with_replacement
from pathlib import Path

import numpy as np
import pytest

from pipeline.bench.searching.surrogate import Surrogate, noise, share_of_reference
from pipeline.search import rounds
from tests.support.command_line import deps

CONTENDERS = ["ours", "NSGA-II", "random", "ours, with noise", "NSGA-II, with noise"]


def test_the_formula_of_a_subnet_by_hand() -> None:
    """All blocks alike, so that the file's sums can be written down: depth 3, kernel 5, expand ratio 4."""
    surrogate = Surrogate()
    path = Path(__file__).parents[3] / "pipeline" / "bench" / "searching" / "ofa_mbv3_surrogate.json"
    weights = json.loads(path.read_text())["coefficients"]
    expected = json.loads(path.read_text())["intercept"]
    for stage in range(5):
        for block in range(4 * stage, 4 * stage + 3):
            expected += weights[f"kernel5@block{block}"] + weights[f"expand4@block{block}"]
    shares = {**{f"E{stage}": 12 / 24 for stage in range(1, 6)}, **{f"K{stage}": 15 / 28 for stage in range(1, 6)}}
    for name, share in shares.items():
        expected += 3 * share * weights[name]
    for one, other in combinations_with_replacement(shares, 2):
        expected += 3 * shares[one] * shares[other] * weights[f"{one}*{other}"]
    subnet = surrogate.encoding.space.uniform(depth=3, kernel=5, expand=4)
    assert surrogate.of(subnet) == pytest.approx(expected, rel=1e-12)
    assert surrogate(surrogate.encoding.encode([subnet])).tolist() == [surrogate.of(subnet)]


def test_the_share_of_the_reference_by_hand() -> None:
    """One subnet of half the range of MACs, and another one that adds a corner."""
    one = (570 - 345) / 450 * (77 - 70.5) / 7.5
    assert share_of_reference(np.array([345e6]), np.array([77.0])) == pytest.approx(one / 0.8115)
    corner = (345 - 300) / 450 * (75 - 70.5) / 7.5
    both = share_of_reference(np.array([345e6, 300e6]), np.array([77.0, 75.0]))
    assert both == pytest.approx((one + corner) / 0.8115)


def test_noise_is_the_same_whenever_a_subnet_is_measured() -> None:
    rows = Surrogate().encoding.sample(400, np.random.default_rng(0))
    drawn = noise(rows, 0.5, 1)
    assert np.array_equal(noise(rows[::-1], 0.5, 1), drawn[::-1])
    assert not np.array_equal(noise(rows, 0.5, 2), drawn)
    assert drawn.std() == pytest.approx(0.5, rel=0.15)
    assert abs(drawn.mean()) < 0.1


def test_every_contender_is_told_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "_GENERATIONS", 4)  # for what is not about how good it is
    done = deps("bench", "search", "--seeds", 1, "--evaluations", 30, "--output", tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [row["contender"] for row in found["contenders"]] == CONTENDERS
    assert {"pymoo", "scikit-learn", "torch"} <= found["versions"].keys()
    volumes = {row["contender"]: row["hypervolume"] for row in found["contenders"]}
    assert volumes["ours"] > max(volumes["NSGA-II"], volumes["random"])
    table, plot = map(Path, found["files"])
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["contender"] for row in rows] == [name for name in CONTENDERS for _ in (25, 30)]
    assert [row["evaluations"] for row in rows[:2]] == ["25", "30"]
    assert plot.read_text().startswith("<?xml")
