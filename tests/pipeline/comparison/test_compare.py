"""A small comparison, trained: its runs are those of `deps train`, and what is there is not trained again."""

import json
from pathlib import Path

import pytest

from pipeline.commands import compare
from pipeline.run.layout import CONFIG, EVALUATION, LEDGER
from tests.faults.broken_run import assert_same
from tests.pipeline.comparison.real_runs import SEEDS, Starts, arguments, names
from tests.support import processes
from tests.support.command_line import Done, deps
from tests.support.processes import small_run

# Of as few steps as have all phases.
SHORT = ("schedule.duration=8 steps", "schedule.full_model_warmup=4 steps", "schedule.epsilon_ramp=2 steps")


@pytest.fixture(scope="module")
def compared(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Starts, Done]:
    folder, starts = tmp_path_factory.mktemp("compared"), Starts()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compare, "start", lambda *_: starts)
        keys = [*arguments(digits, folder, *SHORT), "--runs-at-once", 2, "--output", folder / "compared"]
        return folder, starts, deps("compare", *keys)


def again(digits: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, *options: object) -> tuple[Done, Starts]:
    starts = Starts()
    monkeypatch.setattr(compare, "start", lambda *_: starts)
    return deps("compare", *arguments(digits, folder, *SHORT), "--output", folder / "compared", *options), starts


def test_every_recipe_is_trained_with_every_seed_and_evaluated(compared: tuple[Path, Starts, Done]) -> None:
    folder, starts, done = compared
    assert done.returncode == 0, done
    assert sorted(starts.started) == sorted((name, word) for name in names() for word in ("training", "evaluating"))
    text = (folder / "compared" / "compare.md").read_text()
    assert text.startswith("# digits: DεpS, other\n\n2 methods on digits (10 classes), each at its own length.")
    for name in names():
        assert (folder / "compared" / "runs" / name / EVALUATION).exists()
        assert "done: " in (folder / "compared" / "logs" / f"{name}.txt").read_text()
    assert str(folder / "compared" / "compare.html") in done.stdout


def test_a_run_is_what_deps_train_gives_for_its_seed(compared: tuple[Path, Starts, Done], digits: Path) -> None:
    from safetensors.torch import load_file

    folder, *_ = compared
    keys = [*small_run(digits, folder / "alone"), "engine.name=single", *SHORT, "seed=1", "name=digits-1"]
    processes.run(["-m", "pipeline.train", *keys], 1)
    alone, ours = folder / "alone" / "digits-1", folder / "compared" / "runs" / "digits-1"
    assert_same(load_file(ours / "supernet.safetensors"), load_file(alone / "supernet.safetensors"))
    assert f"runs: {folder / 'compared' / 'runs'}" in (ours / CONFIG).read_text()


def test_called_again_it_trains_nothing_and_writes_the_same_page(
    compared: tuple[Path, Starts, Done], digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, *_ = compared
    page = (folder / "compared" / "compare.html").read_bytes()
    (folder / "compared" / "compare.html").unlink()
    done, starts = again(digits, folder, monkeypatch, "--json")
    assert done.returncode == 0, done
    assert starts.started == []
    assert (folder / "compared" / "compare.html").read_bytes() == page
    found = json.loads(done.stdout)
    assert {each["approach"]: each["n"] for each in found["approaches"]} == {"DεpS": SEEDS, "other": SEEDS}
    for run in found["runs"]:
        ledger = json.loads((folder / "compared" / "runs" / run["name"] / LEDGER).read_text())
        assert run["training_macs"] == int(ledger["segments"][0]["training_macs"])
    assert {each["n"] for each in found["differences"]} == {SEEDS}


def test_what_failed_is_told_and_done_by_the_next_call(
    compared: tuple[Path, Starts, Done], digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, *_ = compared
    run = folder / "compared" / "runs" / "other-1"
    weights = (run / "supernet.safetensors").read_bytes()
    (run / EVALUATION).unlink()
    (run / "supernet.safetensors").write_bytes(weights[:-1])
    done, starts = again(digits, folder, monkeypatch)
    assert (done.returncode, starts.started) == (1, [("other-1", "evaluating")])
    told = " ".join(done.stderr.split())
    assert f"other-1: evaluating ended with exit code 1; see {folder}/compared/logs/other-1.txt" in told
    assert "1 of the runs failed, as told above: other-1; the page has the others" in told
    assert "supernet.safetensors" in (folder / "compared" / "logs" / "other-1.txt").read_text().splitlines()[-1]
    assert "Not done, and in no figure here: other-1" in (folder / "compared" / "compare.md").read_text()
    (run / "supernet.safetensors").write_bytes(weights)
    done, starts = again(digits, folder, monkeypatch)
    assert (done.returncode, starts.started) == (0, [("other-1", "evaluating")])
