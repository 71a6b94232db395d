"""What commands import: nobody waits, and no process of a run, for what it does not use."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import small_run

ROOT = Path(__file__).parents[2]

# Each takes from a tenth of a second to several seconds to import.
OF_ONE_USE = {
    "deepspeed",
    "matplotlib",
    "mlflow",
    "nvidia",
    "onnx",
    "onnxruntime",
    "pandas",
    "pymoo",
    "scipy",
    "sklearn",
    "sympy",
    "torch._dynamo",
    "torch._inductor",
    "torch.distributed.fsdp",
    "torch.distributed.tensor",
    "triton",
    "webdataset",
}


def imported_by(program: str, *arguments: str) -> set[str]:
    """The modules that a process of its own has imported when `program` ends, on a machine without a GPU."""
    told = "import atexit, sys; atexit.register(lambda: print('\\n', *sys.modules)); "
    command = [sys.executable, "-c", told + program, *arguments]
    hidden = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=hidden, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


def test_a_run_on_one_process_imports_nothing_that_it_does_not_use(digits: Path, tmp_path: Path) -> None:
    steps = ["schedule.duration=4 steps", "schedule.full_model_warmup=2 steps", "schedule.epsilon_ramp=1 steps"]
    run = [*small_run(digits, tmp_path), "engine={name: single}", *steps, "name=run"]
    found = imported_by("import deps_command; deps_command.main()", "train", *run)
    assert (tmp_path / "run" / "supernet.safetensors").exists()
    assert {"torch", "pipeline.training.trainer"} <= found
    assert not OF_ONE_USE & found


@pytest.mark.parametrize("command", [["--help"], ["train", "--help"], ["bench", "--help"]])
def test_help_comes_without_torch(command: list[str]) -> None:
    found = imported_by("import deps_command; deps_command.main()", *command)
    assert "pipeline.cli" in found
    assert not {*OF_ONE_USE, "torch", "numpy"} & found


def test_deepspeed_comes_without_mlflow_which_stays_to_be_had() -> None:
    """It imports it for its tuning. What sends a run to MLflow imports it later, in a thread of its own."""
    deepspeed = "from pipeline.engines.deepspeed.engine import import_deepspeed; import_deepspeed()"
    found = imported_by(f"{deepspeed}; from importlib.util import find_spec; assert find_spec('mlflow')")
    assert "deepspeed.runtime.engine" in found
    assert not {"mlflow", "pandas"} & found
