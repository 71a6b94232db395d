"""SIGKILL at the entry of a method's phases and within them: the run ends as if left alone, whatever the method."""

import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pipeline.experiment import prepare
from pipeline.recipe.reading import load_recipe
from pipeline.supernet.store import save_supernet
from pipeline.supernet.supernet import Supernet
from tests.faults.broken_run import Run, Weights, assert_same, kill
from tests.support.command_line import deps
from tests.support.processes import start

pytestmark = pytest.mark.distributed

WORKER = Path(__file__).with_name("faulty_worker.py")
RATE = "learning_rate: {base: 0.05, warmup: 3 steps}"
SCHEDULES = {
    "deps": f"{{name: deps, duration: 12 steps, full_model_warmup: 7 steps, epsilon_ramp: 3 steps, {RATE}}}",
    "ofa": f"{{name: ofa, duration: 22 steps, {RATE}}}",
    "compofa": f"{{name: compofa, duration: 16 steps, kernels: [3], {RATE}}}",
    "bignas": f"{{name: bignas, duration: 6 steps, {RATE}}}",
    "attentive_nas": f"{{name: attentive_nas, duration: 6 steps, sampling: {{name: attentive, table: 50}}, {RATE}}}",
    "alpha_net": f"{{name: alpha_net, duration: 6 steps, {RATE}}}",
    "single": f"{{name: single, duration: 6 steps, subnet: d1.2-k3-e4-r32, {RATE}}}",
}
SPACES = {"compofa": ["space.depths=[1, 2, 3]"]}  # as many depths as expand ratios
OFTEN = (
    "model={dropout: 0.1, drop_connect: 0.2}",
    "evaluation={every: 100 steps, recalibration_samples: 32, batch_size: 256, full_when_shrinking: 0}",
    "checkpoint={every: 1 steps, keep: 2}",
)


class Method:
    """Runs of a method in `runs`: `whole`, which is left alone, and `broken`."""

    def __init__(self, name: str, digits: Path, runs: Path, world: int) -> None:
        more = [f"schedule={SCHEDULES[name]}", *OFTEN, *SPACES.get(name, ())]
        self.whole = Run(digits, runs, "whole", world, *more)
        _, _, recipe, *overrides, _ = self.whole.command
        self.schedule = prepare(load_recipe(Path(recipe), overrides)).schedule
        if name == "single":  # what fine-tuning does
            (runs / "start").mkdir()
            torch.manual_seed(7)
            save_supernet(runs / "start", self.schedule.space, Supernet(self.schedule.space).state_dict())
            more.append(f"model.start={runs / 'start'}")
            self.whole = Run(digits, runs, "whole", world, *more)
        self.broken = Run(digits, runs, "broken", world, *more)

    def break_at(self, place: str, step: int) -> None:
        """Start the broken run, which goes on from where it was, to be killed at a place of `step`."""
        arguments = [str(WORKER), "killed", f"{place}@{step}", "all", *self.broken.command[2:]]
        processes = start(arguments, self.broken.world)
        said = [process.communicate(timeout=600)[0] for process in processes]
        assert -signal.SIGKILL in {process.returncode for process in processes}, said
        kill(processes)
        assert self.broken.saved()[-1:] == ([step] if step else []), "it goes on from the step that it was killed in"

    def assert_as_if_left_alone(self) -> None:
        """Weights, statistics, momentum and teacher of the last checkpoint, and the weights that are written."""
        self.whole.finish()
        self.broken.finish()
        assert_same(self.broken.weights(), self.whole.weights())
        expected, last = state(self.whole), state(self.broken)
        assert any(name.startswith("momentum") for name in expected)
        assert_same(last, expected)


def state(run: Run) -> Weights:
    return load_file(max((run.folder / "checkpoints").glob("*.safetensors")))


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_run_killed_at_an_entry_and_within_a_phase_ends_with_the_same_state(
    name: str, digits: Path, tmp_path: Path
) -> None:
    method = Method(name, digits, tmp_path, world=1)
    last = method.schedule.phases[-1]
    if len(method.schedule.phases) > 1:
        method.break_at("entered", next(phase.start for phase in method.schedule.phases if phase.enter))
    method.break_at("within", last.start + 1)
    method.assert_as_if_left_alone()


@pytest.mark.faults
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("world", [1, 2])
@pytest.mark.parametrize("name", SCHEDULES)
def test_a_run_killed_at_every_entry_and_within_every_phase_ends_with_the_same_state(
    name: str, world: int, digits: Path, tmp_path: Path
) -> None:
    method = Method(name, digits, tmp_path, world)
    phases = method.schedule.phases
    for phase in phases:
        method.break_at("before", phase.start)
        method.break_at("entered", phase.start)
        method.break_at("within", (phase.start + phase.end) // 2)
    method.assert_as_if_left_alone()
    reported = deps("report", method.broken.folder, "--output", tmp_path / "report")
    assert reported.returncode == 0, reported.stderr
    page = (tmp_path / "report" / "report.md").read_text()
    assert all(phase.name in page for phase in phases)
    print(f"\n{name}, {world} processes: {len(phases)} phases, {3 * len(phases)} kills injected and survived")
