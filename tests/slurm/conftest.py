"""A SLURM of two nodes for the tests in this folder, one for each of pytest's processes; it accounts where it can."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.testing.accounting import missing_for_accounting
from cluster.testing.daemons import NoSlurmError
from cluster.testing.slurm import Slurm, missing_programs, running_slurm
from tests.slurm.stand_ins import Clients


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    if missing := missing_programs():
        pytest.skip(f"SLURM is not installed here ({', '.join(missing)}); see cluster/testing/install.sh")
    try:
        with running_slurm(tmp_path_factory.mktemp("slurm") / "daemons", not missing_for_accounting()) as running:
            yield running
    except NoSlurmError as error:
        pytest.fail(str(error))


@pytest.fixture
def clients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clients:
    return Clients(tmp_path, monkeypatch)
