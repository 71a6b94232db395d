"""The ledger of a start on several machines, whose clocks may differ."""

import time
from pathlib import Path

import pytest
import torch

from pipeline.processes.group import Processes
from pipeline.recipe.reading import load_recipe
from pipeline.run.earlier_starts import open_ledger
from pipeline.tracking.ledger import LedgerError, process_start_time
from tests.support.processes import REPOSITORY


def test_a_node_whose_clock_is_behind_that_of_the_first_one_ends_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job's script runs on the first node, as does the main process, which keeps the ledger."""
    monkeypatch.setenv("DEPS_HELD_SINCE", f"{time.time() + 1e6:.0f}")
    recipe = load_recipe(REPOSITORY / "recipes" / "digits.yaml", [f"runs={tmp_path}"])
    main, other = (Processes(rank, 2, torch.device("cpu")) for rank in (0, 1))
    own = open_ledger(recipe, other, None)  # charged from the start of its own process
    assert 0 < own.record().segments[-1].held <= time.time() - process_start_time()
    with pytest.raises(LedgerError, match="is no Unix time in seconds that is past"):
        open_ledger(recipe, main, None)
