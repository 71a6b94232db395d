"""How long processes wait for the slowest one: figures of three processes, worked out by hand."""

import pytest
import torch

from pipeline.processes.group import Processes
from pipeline.training.pace import JUDGED_AFTER, Pace


class Three(Processes):
    """Process 0 of three, of which the other two spend fixed seconds between two calls."""

    others: tuple[float, float] = (0.0, 0.0)

    def total(self, values: list[float]) -> list[float]:
        mine, *_, held = values
        return [mine, *self.others, 3 * held]

    def gathered(self, values: list) -> list:
        return [*values, "second", "third"]


def paced(mine: float, others: tuple[float, float]) -> Pace:
    three = Three(0, 3, torch.device("cpu"))
    object.__setattr__(three, "others", others)
    pace = Pace(three)
    pace.add(100.0, 100.0)  # the first step, which is not counted
    pace.add(mine, JUDGED_AFTER)
    return pace


def test_the_share_is_what_the_others_wait_on_average() -> None:
    # They wait 6 and 4 seconds of 10.
    metrics, line = paced(2.0, (8.0, 4.0)).read()
    assert metrics == {"speed/waiting_for_slowest_fraction": pytest.approx(0.5)}
    assert line == "process 1 on second is slow: the others wait for it 50 % of the time"


def test_a_process_is_named_once() -> None:
    pace = paced(2.0, (8.0, 4.0))
    assert pace.read()[1] is not None
    pace.add(2.0, JUDGED_AFTER)
    metrics, line = pace.read()
    assert metrics["speed/waiting_for_slowest_fraction"] == pytest.approx(0.5)
    assert line is None


def test_a_lag_is_judged_over_more_than_one_line_of_the_log() -> None:
    pace = paced(2.0, (8.0, 4.0))
    pace._held /= 2
    assert pace.read()[1] is None
    pace.add(0.0, JUDGED_AFTER / 2)
    assert pace.read()[1] is not None


def test_nobody_is_named_where_all_are_about_as_fast() -> None:
    metrics, line = paced(8.0, (9.0, 8.0)).read()
    assert metrics == {"speed/waiting_for_slowest_fraction": pytest.approx(0.1)}
    assert line is None


def test_one_process_waits_for_nobody() -> None:
    pace = Pace(Processes(0, 1, torch.device("cpu")))
    pace.add(1.0, 1.0)
    assert pace.read() == ({}, None)


def test_what_a_line_of_the_log_waits_for_the_device_is_time_of_the_steps() -> None:
    """Steps only give out their work: of 10 seconds of that and 10 of waiting, the others wait 6 and 4."""
    pace = paced(2.0, (8.0, 4.0))
    pace.add_wait(JUDGED_AFTER)
    assert pace.read()[0] == {"speed/waiting_for_slowest_fraction": pytest.approx(0.25)}


def test_a_wait_for_the_first_step_alone_is_not_counted_as_that_step_is_not() -> None:
    pace = Pace(Three(0, 3, torch.device("cpu")))
    pace.add(100.0, 100.0)
    pace.add_wait(50.0)
    assert pace.read() == ({}, None)
