"""Each step of each recipe, and of each ablation, trains what it trained before."""

from typing import Any

import pytest

from tests.before import recorded, today
from tests.support.forked_program import REPOSITORY

CASES: dict[str, Any] = recorded.read("plans")

# Powers and cosines are the C library's, and may differ in the last bit between machines; of 1 + cos, close to the
# run's end, that bit is no small part.
ROUNDING = {"rel": 1e-14, "abs": 1e-15}


def numbers(plan: dict[str, Any]) -> list[float]:
    return [plan["learning_rate"], plan["epsilon"], *(scale for *_, scale in plan["slots"])]


def the_rest(plan: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in plan.items() if key not in ("learning_rate", "epsilon")}
    return {**kept, "slots": [slot[:-1] for slot in plan["slots"]]}


def test_much_was_recorded() -> None:
    assert len(CASES) == 20
    assert all(len(case["plans"]) >= (200 if name == case["recipe"] else 50) for name, case in CASES.items())


@pytest.mark.parametrize("name", CASES)
def test_the_steps_of_a_recipe_are_planned_as_before(name: str) -> None:
    case = CASES[name]
    schedule = today.schedule(REPOSITORY / "recipes" / f"{case['recipe']}.yaml", case["overrides"])
    assert today.phases(schedule) == case["phases"]
    for step, before in case["plans"].items():
        now = today.plan(schedule, int(step))
        assert the_rest(now) == the_rest(before), step
        assert numbers(now) == pytest.approx(numbers(before), **ROUNDING), step
