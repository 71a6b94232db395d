"""A value is chosen by validation images alone, on seeds that are not compared; then all is trained with it."""

import json
from pathlib import Path

import pytest

from pipeline.commands import compare
from pipeline.comparison import running
from pipeline.comparison.choice import FIRST_SEED
from pipeline.run.divergence import note_divergence
from pipeline.run.layout import EVALUATION, VALIDATION
from tests.pipeline.comparison.stand_ins import StandIns
from tests.support.command_line import Done, deps

KEY = "schedule.learning_rate.base"


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> StandIns:
    """Stand-ins for the runs; and no page, as they leave nothing to draw."""
    found = StandIns()
    monkeypatch.setattr(compare, "start", lambda *_: found)
    monkeypatch.setattr(running, "SECONDS_BETWEEN_LOOKS", 0)
    monkeypatch.setattr(compare, "result", lambda label, variant, seed_runs: compare.Result(label, variant, (), None))
    monkeypatch.setattr(compare, "write_page", lambda *_: [])
    return found


def choosing(digits: Path, folder: Path, *further: object) -> Done:
    keys = [f"data.shards={digits}", "data.validation_samples=100", "engine.name=single"]
    keys += ["--choose", f"{KEY}=0.05,0.1,0.2", "--seeds", 2, "--output", folder]
    return deps("compare", "recipes/digits.yaml", *keys, *further)


def test_the_best_mean_on_validation_images_is_taken_and_trained_with_other_seeds(
    starts: StandIns, digits: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "compared"
    first = {"0.05": 80.0, "0.1": 99.0, "0.2": 91.0}
    second = {"0.05": 95.0, "0.1": 80.0, "0.2": 90.5}  # 0.2 has the best mean of both, and the best of none
    for at, accuracies in enumerate((first, second)):
        starts.accuracy |= {f"digits-{value}-{FIRST_SEED + at}": full for value, full in accuracies.items()}
    assert choosing(digits, folder, "--choose-seeds", 2).returncode == 0
    compared = [name for name, word in starts.started if word == "training"][6:]
    assert compared == ["digits-0", "digits-1"]
    for seed in range(2):
        text = (folder / "recipes" / f"digits-{seed}.yaml").read_text()
        assert f"seed: {seed}\n" in text
        assert "    base: 0.2\n" in text
        assert (folder / "runs" / f"digits-{seed}" / EVALUATION).exists()
    tried = sorted((folder / "choice").iterdir())
    assert [path.name for path in tried] == sorted(
        f"digits-{value}-{seed}" for value in first for seed in (FIRST_SEED, FIRST_SEED + 1)
    )
    for path in tried:
        assert (path / VALIDATION).exists()
        assert not (path / EVALUATION).exists(), "the test split is not read to choose"


def test_equal_values_leave_the_first(starts: StandIns, digits: Path, tmp_path: Path) -> None:
    assert choosing(digits, tmp_path / "compared").returncode == 0
    assert "    base: 0.05\n" in (tmp_path / "compared" / "recipes" / "digits-0.yaml").read_text()


def test_what_is_chosen_is_not_tried_again_for_more_seeds(starts: StandIns, digits: Path, tmp_path: Path) -> None:
    choosing(digits, tmp_path / "compared")
    starts.started.clear()
    assert choosing(digits, tmp_path / "compared", "--seeds", 3).returncode == 0
    assert starts.started == [("digits-2", "training"), ("digits-2", "evaluating")]


def test_where_a_trial_fails_nothing_is_chosen(starts: StandIns, digits: Path, tmp_path: Path) -> None:
    starts.codes = {(f"digits-0.1-{FIRST_SEED}", "training"): 1}
    done = choosing(digits, tmp_path / "compared")
    assert done.returncode == 1
    assert f"digits-0.1-{FIRST_SEED}: training ended with exit code 1; see" in done.stderr
    assert not (tmp_path / "compared" / "runs").exists()
    starts.codes = {}
    assert choosing(digits, tmp_path / "compared").returncode == 0
    assert [name for name, word in starts.started if word == "training"].count(f"digits-0.05-{FIRST_SEED}") == 1


def test_a_value_that_diverges_is_not_taken_and_not_tried_again(starts: StandIns, digits: Path, tmp_path: Path) -> None:
    bad = f"digits-0.05-{FIRST_SEED}"  # the first, which is taken of equal ones
    starts.codes = {(bad, "training"): 1}
    starts.on_failure = lambda seed_run: note_divergence(seed_run.folder, "loss is nan")
    done = choosing(digits, tmp_path / "compared")
    assert done.returncode == 0, done
    assert f"{bad}: diverged: its loss is not finite" in done.stderr
    assert "    base: 0.1\n" in (tmp_path / "compared" / "recipes" / "digits-0.yaml").read_text()
    starts.started.clear()
    assert choosing(digits, tmp_path / "compared", "--seeds", 3).returncode == 0
    assert starts.started == [("digits-2", "training"), ("digits-2", "evaluating")]


def test_where_all_values_diverge_nothing_is_chosen(starts: StandIns, digits: Path, tmp_path: Path) -> None:
    starts.codes = {(f"digits-{value}-{FIRST_SEED}", "training"): 1 for value in ("0.05", "0.1", "0.2")}
    starts.on_failure = lambda seed_run: note_divergence(seed_run.folder, "loss is nan")
    done = choosing(digits, tmp_path / "compared", "--json")
    assert [each["chosen"] for each in json.loads(done.stdout)["choices"]] == [None]
    assert json.loads(done.stdout)["missing"] == ["all of DεpS, for which nothing could be chosen"]
    assert not (tmp_path / "compared" / "runs").exists()


def test_a_compared_run_that_diverges_has_failed(starts: StandIns, digits: Path, tmp_path: Path) -> None:
    starts.codes = {("digits-1", "training"): 1}
    starts.on_failure = lambda seed_run: note_divergence(seed_run.folder, "loss is nan")
    done = choosing(digits, tmp_path / "compared")
    assert done.returncode == 1
    assert "digits-1: training ended with exit code 1; see" in done.stderr


def test_a_submission_is_one_array_of_what_is_not_trained(
    starts: StandIns, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays: list[list[str]] = []
    options = "--nodes 1 --gpus-per-node 0 --dry-run"
    compare_now = compare.print_comparison

    def spied(asked, submits, prints_json):
        return compare_now(asked, lambda runs: (arrays.append(list(runs)), submits(runs)), prints_json)

    monkeypatch.setattr(compare, "print_comparison", spied)
    folder = tmp_path / "compared"
    jobs = ["--jobs", str(tmp_path / "jobs")]
    done = choosing(digits, folder, "--submit", " ".join([options, *jobs]))
    assert done.returncode == 0, done
    assert starts.started == []
    assert "#SBATCH --array=0-2" in done.stdout
    trials = [str(folder / "recipes" / f"digits-{value}-{FIRST_SEED}.yaml") for value in ("0.05", "0.1", "0.2")]
    assert arrays.pop()[:4] == [*trials, "--resume"]
    for value in ("0.05", "0.1", "0.2"):
        run = folder / "choice" / f"digits-{value}-{FIRST_SEED}"
        run.mkdir(parents=True)
        for name in ("supernet.safetensors", "supernet.json"):
            (run / name).write_text("{}")
    done = choosing(digits, folder, "--submit", " ".join([options, *jobs]))
    assert {word for _, word in starts.started} == {"evaluating"}, "of the trials, here"
    assert arrays.pop()[:3] == [*(str(folder / "recipes" / f"digits-{seed}.yaml") for seed in range(2)), "--resume"]
    assert json.loads((folder / "compare.json").read_text())["asked"] == {
        "--choose": f"{KEY}=0.05,0.1,0.2",
        "--choose-seeds": "1",
    }


def test_options_of_a_submission_are_those_of_deps_submit(digits: Path, tmp_path: Path) -> None:
    keys = ["recipes/digits.yaml", f"data.shards={digits}", "engine.name=single", "--output", tmp_path / "compared"]
    for options, told in (
        ("--nodes 1", "deps submit: Missing option '--gpus-per-node'"),
        ("--nodes '1", "deps: --submit '--nodes '1': No closing quotation"),
        ("--nodes 1 --gpus-per-node 2", "deps: engine.name: 'single' cannot run on 2 processes"),
    ):
        done = deps("compare", *keys, "--submit", options)
        assert (done.returncode, done.stderr[: len(told)]) == (2, told)
