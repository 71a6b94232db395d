"""The file of evaluations: what a kill leaves of it, what damage, and who may write it."""

import logging
from pathlib import Path

import pytest

from pipeline.errors import UsageError
from pipeline.search.evaluations import Evaluations


def written(folder: Path, search: str = "first", weights: str = "w", **subnets: float) -> None:
    with Evaluations(folder, weights, search) as kept:
        for subnet, top1 in subnets.items():
            kept.add("validation", subnet, top1)


def test_evaluations_are_shared_by_searches_but_not_by_weights(tmp_path: Path) -> None:
    written(tmp_path, a=50.5, b=1 / 3)
    written(tmp_path, "second", c=60)
    written(tmp_path, "second", "others", d=70)
    with Evaluations(tmp_path, "w", "third") as kept:
        assert kept.measured("validation") == kept.before() == {"a": 50.5, "b": 1 / 3, "c": 60}
        assert kept.measured("test") == {}
        assert kept.own() == 0


def test_a_search_that_goes_on_knows_what_it_began_with(tmp_path: Path) -> None:
    written(tmp_path, a=50)
    written(tmp_path, "second", b=51)
    written(tmp_path, "first", c=52)
    with Evaluations(tmp_path, "w", "second") as kept:
        assert kept.before() == {"a": 50}
        assert kept.own() == 1
        kept.add("test", "b", 49)
        assert (kept.measured("test"), kept.own()) == ({"b": 49}, 1)


@pytest.mark.parametrize("left", [1, 30, 60, -1])
def test_a_line_that_a_kill_tore_is_dropped_and_the_next_one_whole(
    left: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    written(tmp_path, a=50, b=51)
    path = tmp_path / "evaluations.jsonl"
    first, second = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + second[:-1][:left])
    written(tmp_path, c=52)
    with caplog.at_level(logging.WARNING), Evaluations(tmp_path, "w", "first") as kept:
        assert kept.measured("validation") == {"a": 50, "c": 52}
    assert not caplog.messages


def test_a_damaged_line_is_told_and_does_not_count(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    written(tmp_path, a=50, b=51)
    path = tmp_path / "evaluations.jsonl"
    path.write_text(path.read_text().replace("50.0", "99.0"))
    with caplog.at_level(logging.WARNING), Evaluations(tmp_path, "w", "first") as kept:
        assert kept.measured("validation") == {"b": 51}
    [message] = caplog.messages
    assert message.endswith("evaluations.jsonl, line 1: is damaged: its CRC is that of another line; it does not count")


def test_one_search_of_a_run_at_a_time(tmp_path: Path) -> None:
    with Evaluations(tmp_path, "w", "first"), pytest.raises(UsageError, match="another search of this run is going on"):
        Evaluations(tmp_path, "w", "second")
    with Evaluations(tmp_path, "w", "second"):
        pass
