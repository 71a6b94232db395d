"""Writes data/runs.json.gz and data/runs: digits trained to the end; stopped before channels are sorted; killed after.

`python -m tests.before.record_runs PLACE`: a neutral place (/srv/deps-before), as some files tell of it. It is made
sure that the two which are not finished, when gone on with, come to where one does that was not interrupted.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from tests.before import recorded
from tests.support.forked_program import REPOSITORY
from tests.support.progress import wait_for_steps

ONE = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY), "CUDA_VISIBLE_DEVICES": ""}
SMALL = [
    "engine.name=single",
    "kernels=reference",
    "batch_size=32",
    "space={network: mobilenet_v3_digits, width: 0.5, kernels: [3, 5], expands: [3, 4], resolutions: [24, 32]}",
]
LONG = [
    "schedule.duration=6 epochs",
    "schedule.epsilon_ramp=1 epochs",
    "schedule.learning_rate={base: 0.1}",
    "checkpoint={every: 1 epochs, keep: 1}",
]
SHORT = [
    "log_every=1 steps",
    "schedule.duration=14 steps",
    "schedule.full_model_warmup=11 steps",
    "schedule.epsilon_ramp=4 steps",
    "schedule.learning_rate={base: 0.05}",
    "evaluation={every: 5 steps, full_when_shrinking: 1 steps, recalibration_samples: 64}",
    "checkpoint={every: 3 steps, keep: 1}",
]
UNTRACKED = "tracking.mlflow=false"
RUNS = {"finished": LONG, "stopped": SHORT, "killed": [*SHORT, UNTRACKED]}


def deps(place: Path, *arguments: str) -> str:
    command = [sys.executable, "-c", "import deps_command; deps_command.main()", *arguments]
    return subprocess.run(command, cwd=place, env=ONE, check=True, stdout=subprocess.PIPE, text=True).stdout


def train(place: Path, name: str, overrides: list[str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "pipeline.train", str(REPOSITORY / "recipes" / "digits.yaml")]
    return subprocess.Popen([*command, f"name={name}", *SMALL, *overrides], cwd=place, env=ONE, text=True)


def state(run: Path) -> dict:
    """All tensors of the newest checkpoint."""
    return recorded.summary(recorded.tensors_in(max(run.glob("checkpoints/*.safetensors"))))


def main(place: Path) -> None:
    runs = place / "runs"
    deps(place, "shards", "pack", "digits", "data/digits")
    assert train(place, "finished", LONG).wait() == 0
    for name, steps, number in (("stopped", 5, signal.SIGTERM), ("killed", 10, signal.SIGKILL)):
        process = train(place, name, RUNS[name])
        wait_for_steps(runs / name, steps, [process])
        process.send_signal(number)
        process.wait()
    content = {"processor": recorded.processor(), "status": json.loads(deps(place, "status", "runs", "--json"))}
    content["evaluation"] = json.loads(
        deps(place, "evaluate", "runs/finished", "--subnet", "d2.1-k35.3-e34.4-r28", "--json")
    )
    for name in RUNS:
        report = json.loads(deps(place, "report", f"runs/{name}", "--output", f"reports/{name}", "--json"))
        content.setdefault("reports", {})[name] = {key: report[key] for key in ("runs", "approaches")}
    for name, options in (("newest", []), ("best", ["--best"])):
        deps(place, "weights", "runs/finished", *options, "--output", f"weights/{name}")
        found = recorded.tensors_in(place / "weights" / name / "supernet.safetensors")
        content.setdefault("weights", {})[name] = recorded.summary(found)
    shutil.copytree(runs, recorded.DATA / "runs")
    assert train(place, "whole", [*SHORT, UNTRACKED]).wait() == 0
    content["end"] = state(runs / "whole")
    for name in ("stopped", "killed"):
        deps(place, "train", f"runs/{name}/config.yaml", "--resume")
        assert state(runs / name) == content["end"]
    recorded.write("runs", content)
    shutil.rmtree(place)  # its database of MLflow, which the runs kept would find again


if __name__ == "__main__":
    main(Path(sys.argv[1]))
