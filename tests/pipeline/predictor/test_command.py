"""`deps predictor`: from a run to a file, and from the file to a run that samples by it."""

import json
from pathlib import Path

import pytest

from pipeline.predictor.predictor import read_predictor
from pipeline.supernet.networks import NETWORKS
from pipeline.tracking.ledger import read_ledger
from tests.support.command_line import deps, refused
from tests.support.processes import run, small_run, start

KEPT = ["data.validation_samples=100", "space.resolutions=[24]", "schedule.duration=16 steps"]
FEW = "evaluation={every: 100 steps, recalibration_samples: 32, batch_size: 100, full_when_shrinking: 0}"


@pytest.fixture(scope="module")
def trained(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    recipe = [*small_run(digits, runs), "engine.name=single", "name=trained", *KEPT, FEW]
    run(["-m", "pipeline.train", *recipe], 1)
    return runs / "trained"


@pytest.fixture(scope="module")
def file(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("predictor") / "predictor.json"
    done = deps("predictor", trained, "--subnets", 12, "--output", path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{path}: fitted to ")
    assert "each measured on 100 validation images" in done.stdout
    return path


def attentive(digits: Path, runs: Path, file: Path, name: str = "sampled") -> list[str]:
    sampling = f"{{name: attentive, candidates: 4, table: 50, predictor: {file}}}"
    schedule = f"{{name: attentive_nas, duration: 3 steps, learning_rate: {{base: 0.05}}, sampling: {sampling}}}"
    small = [*small_run(digits, runs), "space.resolutions=[24]", FEW, f"schedule={schedule}", f"name={name}"]
    return ["-m", "pipeline.train", *small, "checkpoint.every=1 steps", "engine={name: ddp}"]


def test_a_run_samples_by_it(digits: Path, tmp_path: Path, file: Path) -> None:
    space = NETWORKS["mobilenet_v3_digits"]
    assert json.loads(file.read_text())["network"] == "mobilenet_v3_digits"
    run(attentive(digits, tmp_path, file), 1)
    assert (tmp_path / "sampled" / "supernet.safetensors").exists()
    by_loss = [part.replace(f", predictor: {file}", "") for part in attentive(digits, tmp_path, file, "by_loss")]
    run(by_loss, 1)
    predicted, tried = (read_ledger(tmp_path / name / "ledger.json").training_macs for name in ("sampled", "by_loss"))
    assert predicted is not None
    assert tried is not None
    assert predicted < 0.8 * tried
    with pytest.raises(Exception, match="here of 32"):
        read_predictor(file, space, "schedule.sampling.predictor")


def test_another_one_does_not_continue_the_run(digits: Path, tmp_path: Path, file: Path) -> None:
    own = tmp_path / "own.json"
    own.write_bytes(file.read_bytes())
    command = attentive(digits, tmp_path, own)
    run(command, 1)
    content = json.loads(own.read_text())
    content["intercept"] += 1
    del content["checksum"]
    own.write_text(json.dumps(content))
    line = refused(deps("train", *command[2:], "--resume"))
    assert f"schedule.sampling.predictor: {own} is not the one that {tmp_path / 'sampled'} was begun with" in line
    own.unlink()
    assert f"{own}: No such file or directory; deps predictor makes one" in refused(
        deps("train", *command[2:], "--resume")
    )


def test_what_it_cannot_do_is_one_line(digits: Path, tmp_path: Path, trained: Path, file: Path) -> None:
    run(["-m", "pipeline.train", *small_run(digits, tmp_path), "engine.name=single", "name=none", FEW], 1)
    output = tmp_path / "predictor.json"
    line = refused(deps("predictor", tmp_path / "none", "--output", output))
    assert "kept no images from training to measure on" in line
    assert "data.validation_samples" in line
    assert "is there already" in refused(deps("predictor", trained, "--output", file))
    assert "is no run folder" in refused(deps("predictor", tmp_path, "--output", output))
    assert "cannot be written" in refused(
        deps("predictor", trained, "--subnets", 12, "--output", tmp_path / "not" / "there.json")
    )
    assert not output.exists()


def test_processes_that_have_different_ones_do_not_start(digits: Path, tmp_path: Path, file: Path) -> None:
    for folder, more in (("one", ""), ("other", "\n")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "own.json").write_text(file.read_text() + more)
    worker = str(Path(__file__).parents[2] / "faults" / "faulty_worker.py")
    command = attentive(digits, tmp_path, Path("own.json"))[2:]
    processes = start([worker, "elsewhere", str(tmp_path / "other"), "1", *command], 2, cwd=tmp_path / "one")
    said = "".join(process.communicate(timeout=600)[0] for process in processes)
    assert [process.returncode for process in processes] == [2, 2]
    assert "has the predictor's SHA-256=" in said
    assert not (tmp_path / "sampled").exists()
