"""A SLURM of two nodes for the tests in this folder, one for each of pytest's processes."""

from collections.abc import Iterator

import pytest

from cluster.testing.slurm import NoSlurmError, Slurm, missing_programs, running_slurm


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    if missing := missing_programs():
        pytest.skip(f"SLURM is not installed here ({', '.join(missing)}); see cluster/testing/install.sh")
    try:
        with running_slurm(tmp_path_factory.mktemp("slurm") / "daemons") as running:
            yield running
    except NoSlurmError as error:
        pytest.fail(str(error))
