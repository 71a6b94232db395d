"""After which steps a run logs, evaluates and saves."""

from collections.abc import Callable

from pipeline.training.milestones import Milestones


def after(is_due: Callable[[int], bool]) -> list[int]:
    return [done for done in range(1, 31) if is_due(done)]


def due(**intervals: int) -> Milestones:
    """Of a run of 30 steps that shrinks from step 10 on, within 8 steps."""
    none = {"log": 0, "evaluate": 0, "save": 0, "full_when_shrinking": 0}
    return Milestones(**{**none, **intervals}, last=30, dips=((10, 18),))


def test_both_are_evaluated_at_intervals_and_at_the_end() -> None:
    assert after(due(evaluate=12).evaluates) == [12, 24, 30]
    assert after(due().evaluates) == [30]


def test_the_full_model_is_evaluated_once_more_while_it_shrinks_from_its_start_on() -> None:
    assert after(due(full_when_shrinking=4).evaluates_full) == [10, 14, 18, 30]
    assert after(due(full_when_shrinking=4, evaluate=15).evaluates_full) == [10, 14, 15, 18, 30]
    assert after(due(evaluate=15).evaluates_full) == [15, 30]


def test_figures_are_told_at_intervals_and_wherever_the_run_evaluates_or_saves() -> None:
    assert after(due(log=7).logs) == [7, 14, 21, 28, 30]
    assert after(due(log=20, save=9, full_when_shrinking=8).logs) == [9, 10, 18, 20, 27, 30]


def test_the_end_is_saved_by_itself_and_not_at_an_interval() -> None:
    assert after(due(save=9).saves) == [9, 18, 27]
