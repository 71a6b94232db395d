"""`run.json` is read as it was written; of an earlier version it is read, too."""

import json
from datetime import datetime, timezone
from pathlib import Path

from pipeline.recipe.reading import load_recipe
from pipeline.run.description import RunPhase, read_description
from pipeline.run.folder import write
from tests.support.descriptions import DESCRIPTION

DIGITS = Path(__file__).parents[3] / "recipes" / "digits.yaml"

# As the first version wrote it: without kernels, the data's identity, and the MACs of a phase.
EARLIEST = """{
 "name": "digits", "approach": "DεpS", "seed": 3, "steps": 660, "steps_per_epoch": 22, "epochs": 30.0, "batch_size": 64,
 "world_size": 2, "engine": "deepspeed", "dataset": "digits", "classes": 10,
 "phases": [{"name": "full model", "start": 0, "end": 330}, {"name": "supernet", "start": 330, "end": 660}],
 "versions": {"python": "3.11.2", "torch": "2.13.0", "deepspeed": "0.19.8"}, "machine": "a machine",
 "started": "2026-11-20T08:00:00+00:00"
}"""


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    recipe = load_recipe(DIGITS, [f"runs={tmp_path}"])
    phases = (RunPhase(name="supernet", start=0, end=20, macs_per_image=3.5),)
    description = DESCRIPTION.model_copy(update={"phases": phases, "data": {"train": "a" * 64}})
    write(recipe, description)
    assert read_description(recipe.folder) == description
    assert "checksum" in json.loads((recipe.folder / "run.json").read_text())


def test_a_resumed_run_has_begun_when_it_was_first_started(tmp_path: Path) -> None:
    recipe = load_recipe(DIGITS, [f"runs={tmp_path}"])
    write(recipe, DESCRIPTION)
    write(recipe, DESCRIPTION.model_copy(update={"world_size": 8, "started": datetime.now(timezone.utc)}))
    assert read_description(recipe.folder) == DESCRIPTION.model_copy(update={"world_size": 8})


def test_that_of_the_first_version_is_read(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(EARLIEST)
    found = read_description(tmp_path)
    assert (found.steps, found.data, found.kernels) == (660, {}, None)
    assert found.started == datetime(2026, 11, 20, 8, tzinfo=timezone.utc)
    assert [phase.macs_per_image for phase in found.phases] == [1.0, 1.0]
