"""A folder holds one comparison: what is called again with other recipes or options is told what differs."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from pipeline.comparison.entrants import Entrant, entrants_of
from pipeline.comparison.equal_cost import at_equal_cost
from pipeline.comparison.folder import RECORD, taken_up
from pipeline.comparison.lock import kept_to_one
from pipeline.comparison.sweep import Sweep
from pipeline.errors import UsageError
from pipeline.experiment import prepare
from pipeline.forecast.lengths import CountedMacs

DEPS, OFA = Path("recipes/digits100_deps.yaml"), Path("recipes/digits100_ofa.yaml")
SHORT = ["space.classes=10", "space.depths=[1,2]", "train_samples=1438", "schedule.duration=10 epochs"]


@pytest.fixture
def entrants(digits: Path, tmp_path: Path):
    def read(*overrides: str, files: Sequence[Path] = (DEPS, OFA), choose: Sweep | None = None):
        return entrants_of(files, [f"data.shards={digits}", *SHORT, *overrides], tmp_path / "runs", None, choose)

    return read


def take_up(
    folder: Path, entrants: Sequence[Entrant], planned: Sequence[Entrant] | None = None, **asked: str
) -> tuple[Entrant, ...]:
    return taken_up(folder, {f"--{key}": value for key, value in asked.items()}, entrants, lambda: planned or entrants)


def test_what_was_scaled_once_is_kept_with_todays_values_of_what_may_change(entrants, tmp_path: Path) -> None:
    scaled = at_equal_cost(entrants(), None)
    assert take_up(tmp_path, entrants(), scaled) == scaled
    again = take_up(tmp_path, entrants("engine.name=single"), [])
    assert [each.variants[0].planned_macs for each in again] == [each.variants[0].planned_macs for each in scaled]
    for now, was in zip(again, scaled, strict=True):
        assert now.variants[0].recipe.schedule == was.variants[0].recipe.schedule
        assert now.variants[0].recipe.engine.name == "single"


@pytest.mark.parametrize(
    ("overrides", "asked", "files", "told"),
    [
        (["batch_size=64"], {}, (DEPS, OFA), "digits100_deps with batch_size=32, not 64"),
        (["optimizer.momentum=0.8"], {}, (DEPS, OFA), "digits100_deps with optimizer.momentum=0.9, not 0.8"),
        ([], {"choose": "a=1,2"}, (DEPS, OFA), "without --choose, not --choose a=1,2"),
        ([], {}, (DEPS,), "of digits100_deps, digits100_ofa, not of digits100_deps"),
    ],
)
def test_another_comparison_is_told_by_what_differs(
    entrants, tmp_path: Path, overrides: list[str], asked: dict[str, str], files: tuple[Path, ...], told: str
) -> None:
    take_up(tmp_path, entrants())
    with pytest.raises(UsageError, match="holds another comparison, ") as refusal:
        take_up(tmp_path, entrants(*overrides, files=files), **asked)
    assert told in str(refusal.value)
    take_up(tmp_path, entrants("cost.price_per_gpu_hour=2", "log_every=9 steps"))


def test_a_damaged_record_is_told(entrants, tmp_path: Path) -> None:
    take_up(tmp_path, entrants())
    record = (tmp_path / RECORD).read_text()
    (tmp_path / RECORD).write_text(record.replace("10 epochs", "11 epochs"))
    with pytest.raises(UsageError, match=r"compare\.json: is damaged: its content is not that of its checksum"):
        take_up(tmp_path, entrants())


def test_all_cost_the_same_within_a_hundredth_counted_by_each_runs_own_schedule(entrants) -> None:
    choose = Sweep("schedule.learning_rate.base", (0.05, 0.1))
    bignas = Path("recipes/digits100_bignas.yaml")
    read = entrants("data.validation_samples=100", files=(DEPS, OFA, bignas), choose=choose)
    first = prepare(read[0].base).schedule
    budget = CountedMacs(read[0].base.batch_size)(first)
    for given, amount in ((None, budget), (1.5 * budget, 1.5 * budget)):
        for entrant in at_equal_cost(read, given):
            assert len(entrant.variants) == 2
            for variant in entrant.variants:
                schedule = prepare(variant.recipe).schedule
                assert CountedMacs(variant.recipe.batch_size)(schedule) == variant.planned_macs
                assert 0.99 * amount < (variant.planned_macs or 0) <= amount
                assert [phase.name for phase in schedule.phases] == [
                    phase.name for phase in prepare(entrant.base).schedule.phases
                ]
    assert at_equal_cost(read, None)[0].variants[0].recipe.schedule.duration == f"{first.steps} steps"
    with pytest.raises(UsageError, match="which differ by more than 1%: runs of so few steps are not finer; give more"):
        at_equal_cost(read, budget / 10)


def test_a_second_call_waits_for_the_first(tmp_path: Path) -> None:
    told: list[str] = []
    with kept_to_one(tmp_path, told.append) as lock:
        assert lock > 2
        with kept_to_one(tmp_path / "other", told.append):
            assert told == []
        with pytest.raises(TimeoutError), kept_to_one(tmp_path, waits(told)):
            pass
    assert told == [f"{tmp_path}: another call, or a run that one has left, is at work there; waiting for its end"]
    with kept_to_one(tmp_path, told.append):
        assert len(told) == 1


def waits(told: list[str]):
    def tell(line: str) -> None:
        told.append(line)
        raise TimeoutError

    return tell
