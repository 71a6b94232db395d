"""Which of pytest's processes runs which tests, and in what order."""

from __future__ import annotations

from pathlib import Path

import pytest
from xdist.scheduler import LoadScopeScheduling

# What takes long is begun first, so that the last ones to end are short; some wait, while others compute.
_ORDER = (
    "slurm",
    "distributed",
    "faults",
    "pipeline/tracking",
    "kernels/gpu",
    "pipeline",
    "before",
    "kernels",
    "data_shards",
)

# Tests of these start programs and share nothing but these: each of them runs wherever there is time.
_EACH_ALONE = (
    "distributed/test_damage.py",
    "distributed/test_launchers.py",
    "distributed/test_lost_process.py",
    "faults/test_kills.py",
    "faults/test_methods.py",
    "faults/test_one_process.py",
    "faults/test_signals.py",
)


def longest_first(items: list[pytest.Item], tests: Path) -> None:
    """Order the tests, which are in the folder `tests`."""

    def place(item: pytest.Item) -> int:
        path = item.path.relative_to(tests).as_posix()
        return next((place for place, folder in enumerate(_ORDER) if path.startswith(f"{folder}/")), len(_ORDER))

    items.sort(key=place)


class ByWhatIsShared(LoadScopeScheduling):
    """Those of a file stay together, as they share what is made once for it; and all that may need a SLURM do.

    (By `--dist loadgroup` this would be marks on tests, but pytest-xdist 3.8 does not group by them with pytest 9.2.)
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::")[0].removeprefix("tests/")
        if file in _EACH_ALONE:
            return nodeid
        return "slurm" if file.startswith("slurm/") else file
