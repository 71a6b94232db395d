"""Five steps give the weights and the momentum that they gave."""

from pathlib import Path
from typing import Any

import pytest

from tests.before import recorded, steps, today
from tests.before.subnets import weights_for

BEFORE: dict[str, Any] = recorded.read("steps")


@pytest.mark.parametrize("case", BEFORE["states"])
def test_five_steps_give_the_same_weights_and_momentum_to_the_last_bit(case: str, shards: Path, tmp_path: Path) -> None:
    now = steps.state_after(case, shards, tmp_path)
    recorded.check_same(now, BEFORE["states"][case], on=BEFORE["processor"])


def test_in_float64_they_do_on_any_processor() -> None:
    recorded.check_near(today.five_steps_in_float64(steps.FIVE, weights_for), BEFORE["in float64"])
