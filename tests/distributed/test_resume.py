"""A run that is killed or stopped ends with the weights of the run that was not."""

import json
import random
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.support.processes import run, small_run, start
from tests.support.progress import steps_logged, stop, wait_for_steps

STEPS = 32
WORKER = Path(__file__).parents[1] / "faults" / "faulty_worker.py"


def train(arguments: list[str]) -> list[str]:
    return ["-m", "pipeline.train", *arguments, "--resume"]


def engine(world: int) -> list[str]:
    return ["engine={name: single}" if world == 1 else "engine={name: deepspeed, zero_stage: 1}"]


@pytest.fixture(scope="module", params=[1, 2])
def uninterrupted(
    request: pytest.FixtureRequest, digits: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[int, dict[str, torch.Tensor]]:
    """The world size, and the weights that a run ends with if left alone."""
    world, runs = request.param, tmp_path_factory.mktemp("whole")
    run(train([*small_run(digits, runs), *engine(world), "name=whole"]), world)
    return world, load_file(runs / "whole" / "supernet.safetensors")


@pytest.mark.distributed
def test_a_killed_run_resumes_to_the_same_weights(
    uninterrupted: tuple[int, dict[str, torch.Tensor]], digits: Path, tmp_path: Path
) -> None:
    """SIGKILL at a random step, twice; equal to the last bit."""
    world, whole = uninterrupted
    broken = train([*small_run(digits, tmp_path), *engine(world), "name=broken"])
    folder = tmp_path / "broken"
    # The first one after a checkpoint, at step 4, is whole.
    kills = [random.SystemRandom().randrange(least, 13) for least in (5, 1)]
    print(f"killed after {kills} steps of each start")
    for steps in kills:
        before = len(steps_logged(folder))
        killed = start(broken, world)
        wait_for_steps(folder, before + steps, killed)
        stop(killed, signal.SIGKILL)
    outputs = run(broken, world)
    assert "continuing at step" in outputs[0]
    assert set(steps_logged(folder)) == set(range(1, STEPS + 1))
    resumed = load_file(folder / "supernet.safetensors")
    assert whole.keys() == resumed.keys()
    for name, tensor in whole.items():
        assert torch.equal(tensor, resumed[name]), name
    segments = json.loads((folder / "ledger.json").read_text())["segments"]
    assert len(segments) == 3  # two killed starts and the last: all of them cost


@pytest.mark.distributed
def test_sigterm_saves_and_leaves(
    uninterrupted: tuple[int, dict[str, torch.Tensor]], digits: Path, tmp_path: Path
) -> None:
    world, whole = uninterrupted
    broken = train([*small_run(digits, tmp_path), *engine(world), "name=broken"])
    folder = tmp_path / "broken"
    done = 18  # subnets train, and the channels are sorted already
    # To one is to all.
    stopped = start([str(WORKER), "told", str(done), str(world - 1), *broken[2:]], world)
    outputs = [process.communicate(timeout=600)[0] for process in stopped]
    assert [process.returncode for process in stopped] == [128 + signal.SIGTERM] * world
    assert steps_logged(folder) == list(range(1, done + 1))
    assert f"stopped by SIGTERM at step {done}/{STEPS}, saved; continue with --resume" in outputs[0]
    assert (folder / "checkpoints" / f"step-{done:09d}.json").exists()
    assert not (folder / "supernet.safetensors").exists()
    outputs = run(broken, world)
    assert f"continuing at step {done}" in outputs[0]
    resumed = load_file(folder / "supernet.safetensors")
    for name, tensor in whole.items():
        if name.endswith(("running_mean", "running_var")):
            # Averaged over the processes once more, which rounds once more.
            torch.testing.assert_close(resumed[name], tensor, atol=1e-6, rtol=1e-5)
        else:
            assert torch.equal(tensor, resumed[name]), name


def test_a_checkpoint_cut_in_half_is_named_and_the_one_before_it_continues(digits: Path, tmp_path: Path) -> None:
    command = train([*small_run(digits, tmp_path), *engine(1), "name=cut"])
    started = start(command, 1)
    wait_for_steps(tmp_path / "cut", 10, started)
    stop(started, signal.SIGKILL)
    *_, before, newest = sorted((tmp_path / "cut" / "checkpoints").glob("*.safetensors"))
    content = newest.read_bytes()
    newest.write_bytes(content[: len(content) // 2])
    [output] = run(command, 1)
    step = int(before.stem.removeprefix("step-"))
    assert (
        f"{newest.name} is damaged: {len(content) // 2} bytes of {len(content)}; taking step {step} instead" in output
    )
    assert f"continuing at step {step}" in output


@pytest.mark.distributed
@pytest.mark.parametrize(("world", "engine"), [(1, "single"), (2, "ddp")])
def test_engines_that_add_in_the_same_order_end_whole_runs_with_the_same_weights(
    world: int, engine: str, digits: Path, tmp_path: Path
) -> None:
    """With sorted channels, evaluations and checkpoints in them.

    Sharded stages add in another order, and a rounding that turns the sign of one activation is not small any more
    after thirty steps: `test_engines` compares them over five.
    """
    for name, chosen in (("one", f"{{name: {engine}}}"), ("other", "{name: deepspeed, zero_stage: 0}")):
        first, *others = run(train([*small_run(digits, tmp_path), f"engine={chosen}", f"name={name}"]), world)
        assert [line for line in first.splitlines() if not line.startswith((f"{name}: ", "step ", "done: "))] == []
        assert others == [""] * (world - 1), "one process speaks for all"
    one, other = (load_file(tmp_path / name / "supernet.safetensors") for name in ("one", "other"))
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(other[name], tensor, atol=1e-6, rtol=1e-6)
