"""Answers are taken while those before them are used: in order, failures in their turn, and none once nobody asks."""

import threading
import weakref
from collections.abc import Iterator

import pytest

from data_shards.loading.taking_ahead import taken_ahead

HANG = 300  # seconds, after which something hangs


def test_items_come_in_order_to_the_end() -> None:
    assert list(taken_ahead(iter(range(100)))) == list(range(100))
    assert list(taken_ahead(iter([]))) == []


def test_the_next_one_is_taken_while_the_one_before_is_used_and_no_more() -> None:
    begun = [threading.Event() for _ in range(3)]

    def items() -> Iterator[int]:
        for number, event in enumerate(begun):
            event.set()
            yield number

    taken = taken_ahead(items())
    assert next(taken) == 0
    assert begun[1].wait(HANG), "nobody has asked for it, yet it is on its way"
    assert not begun[2].is_set()
    assert next(taken) == 1
    assert begun[2].wait(HANG)


def test_what_fails_fails_in_its_turn() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("gone")

    taken = taken_ahead(items())
    assert next(taken) == 1
    with pytest.raises(OSError, match="gone"):
        next(taken)
    assert next(taken, None) is None


def test_who_is_waited_for_is_dropped_as_soon_as_it_answers() -> None:
    """As a loader that is left early, whose reader processes end with it."""
    may_go_on, dropped = threading.Event(), threading.Event()

    def items() -> Iterator[int]:
        yield 0
        may_go_on.wait(HANG)
        yield 1

    given = items()
    weakref.finalize(given, dropped.set)
    taken = taken_ahead(given)
    del given
    assert next(taken) == 0
    taken.close()  # while the next one is waited for, which this does not
    assert not dropped.is_set()
    may_go_on.set()
    assert dropped.wait(HANG)
