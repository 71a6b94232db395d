"""Inputs by lot: recipes, overrides, run folders, shard folders and archives, damaged and hostile.

Each goes through real commands in a forked process. Whatever it is, the command ends by itself, without a traceback,
and says in one short line what is wrong; or it gives what it gives of the input that nothing was done to. `--fuzz N`
takes N inputs of each kind, `--fuzz-seed` another lot.
"""

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.fuzz import archives, recipes, run_folders, shard_folders
from tests.faults.fuzz.case import Case, outcome

pytestmark = pytest.mark.faults

KINDS = {
    "recipes": recipes.cases,
    "overrides": recipes.override_cases,
    "run folders": run_folders.cases,
    "shard folders": shard_folders.cases,
    "archives": archives.cases,
}


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("kind", KINDS)
def test_every_input_is_taken_as_it_is_or_refused_in_one_line(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    count, seed = request.config.getoption("--fuzz"), request.config.getoption("--fuzz-seed")
    cases: Iterator[Case] = KINDS[kind](random.Random(f"{kind} {seed}"), tmp_path)
    found: Counter[str] = Counter()
    failures = []
    for _, case in zip(range(count), cases, strict=False):
        how, told = outcome(case, tmp_path)
        found[how] += 1
        if how in ("traceback", "hang", "crash", "silent", "wordy"):
            failures.append(f"{how}: {case.told}: {told[-600:]}")
    print(f"\n{kind}: {sum(found.values())} inputs: " + ", ".join(f"{n} {how}" for how, n in found.most_common()))
    assert sum(found.values()) == count
    assert not failures, "\n".join(failures)
