"""Training jobs on a SLURM of two nodes: to the end, out of time, cancelled, and as an array."""

import json
import re
import signal
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from cluster.job_folder import ends, read_record
from cluster.testing.accounting import missing_for_accounting
from cluster.testing.slurm import Slurm
from pipeline.tracking.ledger import read_ledger
from tests.slurm.jobs import Project, wait_until

pytestmark = [pytest.mark.slurm, pytest.mark.distributed]

BUSY = 10  # seconds that SLURM may take on a busy machine to start a script, and to see that it has ended; seldom one


@pytest.fixture(scope="module")
def project(slurm: Slurm, digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project(tmp_path_factory.mktemp("project"), slurm, digits)


@pytest.fixture(scope="module")
def whole(project: Project) -> int:
    """A job that nobody interrupts, the run `whole`: its number."""
    job, _ = project.submit("name=whole")
    project.wait_for_end(job, "COMPLETED")
    return job


def assert_same_weights(run: Path, whole: Path, by_the_same_engine: bool = True) -> None:
    weights, expected = (load_file(folder / "supernet.safetensors") for folder in (run, whole))
    assert weights.keys() == expected.keys()
    for name, tensor in expected.items():
        if not by_the_same_engine:
            torch.testing.assert_close(weights[name], tensor, atol=1e-6, rtol=1e-6)
        elif name.endswith(("running_mean", "running_var")):
            # Averaged over the processes once more where the run was stopped, which rounds once more.
            torch.testing.assert_close(weights[name], tensor, atol=1e-6, rtol=1e-5)
        else:
            assert torch.equal(weights[name], tensor), name


def test_a_job_trains_on_two_nodes_to_its_end(project: Project, whole: int) -> None:
    [folder] = project.folder.glob("jobs/whole-*")
    assert {path.name for path in folder.iterdir()} >= {"job.sh", "job.json", "config.yaml", "code", "ends.txt"}
    assert (folder / "code" / "pipeline" / "train.py").exists()
    record = read_record(folder)
    assert (record.job, record.runs) == (whole, (str(project.run("whole")),))
    assert "32 steps of 16 images on 2 × cpu by ddp" in project.log(whole)
    assert [(end.exit_code, end.words) for end in ends(folder)] == [(0, "finished")]
    [status] = project.status("whole")
    assert (status["state"], status["step"], status["steps"], status["job"]) == ("finished", 32, 32, str(whole))
    assert status["unit"] == "CPU process hours"
    assert status["hours"] == status["expected_hours"] > 0


@dataclass(frozen=True)
class Late:
    """A job that was out of time once: its number and folder; run's status and number in MLflow while it waited."""

    job: int
    folder: Path
    waiting: dict[str, Any]
    mlflow: str


@pytest.fixture(scope="module")
def late(project: Project) -> Late:
    """SLURM itself sends the signal, for a limit that is set half-way, as nobody knows how long the start takes."""
    job, folder = project.submit(
        "name=late", "data.workers=1", "tracking.mlflow=true", "--time", 10, "--seconds-to-save", 10
    )
    waiting = project.suspend(job, "late", steps=10)  # the signal comes up to 30 s late or early
    project.update(job, f"TimeLimit={project.minutes(job) + 1}")
    wait_until(lambda: is_pending(waiting.pid, signal.SIGUSR1), lambda: project.log(job))
    project.update(job, "TimeLimit=60")  # a busy machine may need longer to save and leave
    waiting.resume()
    wait_until(lambda: "PENDING" in project.states(job), lambda: project.log(job))
    project.update(job, "StartTime=now+600", "TimeLimit=10")
    [status] = project.status("late")
    mlflow = run_in_mlflow(project, "late")
    project.update(job, "StartTime=now+8")  # nodes refuse a job again for `cred_expire` after its last start
    project.wait_for_end(job, "COMPLETED")
    return Late(job, folder, status, mlflow)


def run_in_mlflow(project: Project, name: str) -> str:
    return json.loads((project.run(name) / "mlflow.json").read_text())["run_id"]


def test_a_job_out_of_time_saves_queues_again_and_ends_with_the_same_weights(
    project: Project, whole: int, late: Late
) -> None:
    assert (late.waiting["state"], late.waiting["job"]) == ("requeued", str(late.job))
    assert 10 <= late.waiting["step"] < 32
    assert late.waiting["expected_hours"] > late.waiting["hours"] > 0
    assert_same_weights(project.run("late"), project.run("whole"))
    noted = [(end.restarts, end.exit_code, end.words) for end in ends(late.folder)]
    assert noted == [(0, 138, "requeued"), (1, 0, "finished")]
    assert f"stopped by SIGUSR1 at step {late.waiting['step']}/32, saved" in project.log(late.job)
    assert f"continuing at step {late.waiting['step']}" in project.log(late.job)
    assert run_in_mlflow(project, "late") == late.mlflow is not None
    assert_ledger_counts_what_was_held(project, late.job, "late")


def is_pending(process: int, number: signal.Signals) -> bool:
    """Whether a signal waits for a stopped process to go on."""
    pending = re.findall(r"^(?:Shd|Sig)Pnd:\t(\w+)$", Path(f"/proc/{process}/status").read_text(), re.MULTILINE)
    return any(int(mask, 16) >> (number - 1) & 1 for mask in pending)


def without_hours(status: dict[str, Any]) -> str:
    """The remark without SLURM's hours: on a busy machine they may differ from those of so short a run."""
    return re.sub(r"(; )?SLURM counts [\d.]+ h$", "", status["remark"] or "")


def assert_ledger_counts_what_was_held(project: Project, job: int, run: str) -> None:
    """What the script noted, to the second; and SLURM's own log of the job's starts, but for its handling of them."""
    held = project.slurm.completed(job)
    segments = read_ledger(project.run(run) / "ledger.json").segments
    notes = [line.split() for line in (project.run(run) / "held.txt").read_text().splitlines()]
    assert len(segments) == len(held) == len(notes) > 1
    for segment, row, note in zip(segments, held, notes, strict=True):
        began, ended = (datetime.fromisoformat(f"{row[key]}+00:00").timestamp() for key in ("StartTime", "EndTime"))
        since = datetime.fromisoformat(segment.started).timestamp()
        print(f"held by SLURM's log {ended - began:.0f} s, by the ledger {segment.held:.1f} s")
        assert segment.accelerators == 2
        assert [since, since + segment.held] == [pytest.approx(float(noted), abs=1) for noted in note[:2]]
        assert -1 <= since - began <= BUSY  # whole seconds
        assert -1 <= ended - (since + segment.held) <= BUSY


def test_accounting_counts_each_start_as_the_completion_log_does_and_status_tells_its_hours(
    project: Project, late: Late
) -> None:
    if missing := missing_for_accounting():
        pytest.skip(f"SLURM's accounting is not installed here ({', '.join(missing)}); see cluster/testing/install.sh")
    command = ["sacct", "--noheader", "--parsable2", "--allocations", "--duplicates", f"--jobs={late.job}"]

    def accounted() -> list[list[str]]:
        lines = project.slurm.client(*command, "--format=State,ElapsedRaw,Start,End").splitlines()
        return [line.split("|") for line in lines]

    wait_until(lambda: [row[0] for row in accounted()] == ["REQUEUED", "COMPLETED"], lambda: str(accounted()))
    logged = project.slurm.completed(late.job)
    assert [row[2:] for row in accounted()] == [[row["StartTime"], row["EndTime"]] for row in logged]
    seconds = [int(row[1]) for row in accounted()]
    segments = read_ledger(project.run("late") / "ledger.json").segments
    assert [segment.held for segment in segments] == pytest.approx(seconds, abs=BUSY)
    print(f"held by SLURM's accounting {seconds} s, by the ledger {[round(segment.held, 1) for segment in segments]} s")
    [status] = project.status("late")
    assert status["accounted_hours"] == pytest.approx(2 * sum(seconds) / 3600)
    assert (status["state"], without_hours(status)) == ("finished", "")
    # While it waited, there was the first start alone; the accounting may not have heard of its end yet.
    assert 0 < late.waiting["accounted_hours"] < status["accounted_hours"]


@pytest.mark.faults
def test_a_job_whose_nodes_are_taken_saves_and_queues_again(project: Project, whole: int) -> None:
    job, folder = preempted(project, "preempted")
    assert ends(folder)[0].words == "requeued: preempted"
    [step] = re.findall(r"stopped by SIGTERM at step (\d+)/32, saved", project.log(job))
    assert f"continuing at step {step}" in project.log(job)
    assert_ledger_counts_what_was_held(project, job, "preempted")


@pytest.mark.faults
def test_a_job_whose_nodes_are_taken_without_notice_is_queued_again_by_slurm(project: Project, whole: int) -> None:
    """It has `KillWait` to save in, up to the beginning of which alone SLURM's log counts; it is told as by scancel."""
    project.slurm.client("scontrol", "update", "PartitionName=spare", "GraceTime=0")
    try:
        job, folder = preempted(project, "surprised")
    finally:
        project.slurm.client("scontrol", "update", "PartitionName=spare", "GraceTime=60")
    assert ends(folder)[0].words == "stopped by SIGTERM"
    [step] = re.findall(r"stopped by SIGTERM at step (\d+)/32, saved", project.log(job))
    assert f"continuing at step {step}" in project.log(job)


def preempted(project: Project, run: str) -> tuple[int, Path]:
    """A job whose nodes another one took for a while, after its end."""
    job, folder = project.submit(f"name={run}", "data.workers=1", "--partition", "spare")  # SLURM signals all processes
    project.suspend(job, run, steps=10)  # SLURM wakes it
    other = ["--nodes=2", "--exclusive", f"--output={project.folder}/urgent.txt", "--wrap=sleep 3"]
    project.slurm.client("sbatch", "--partition=main", *other)
    wait_until(lambda: bool(ends(folder)), lambda: project.log(job))
    project.wait_for_end(job, "COMPLETED")
    assert [(end.restarts, end.words) for end in ends(folder)][1:] == [(1, "finished")]
    assert_same_weights(project.run(run), project.run("whole"))
    return job, folder


@pytest.mark.faults
def test_a_job_that_loses_a_node_queues_again(project: Project, whole: int) -> None:
    """Minutes before SLURM itself notices, and although the run has ended by then, which is a failure to SLURM."""
    job, folder = project.submit("name=lost")
    project.suspend(job, "lost", steps=10, rank=1)
    project.slurm.lose_node("n2")
    wait_until(lambda: bool(ends(folder)), lambda: project.log(job))
    assert ends(folder)[0].words == "requeued: a node does not answer"
    assert "no sign of life any more" in project.log(job)
    goes_on_once_the_node_is_back(project, job, "lost", "n2")
    assert [(end.restarts, end.words) for end in ends(folder)][1:] == [(1, "finished")]


@pytest.mark.faults
def test_a_job_that_loses_its_first_node_is_queued_again_by_slurm(project: Project, whole: int) -> None:
    """With that node, script, launcher and main process are gone; the other process must not be in the way later."""
    job, folder = project.submit("name=headless")
    other = project.suspend(job, "headless", steps=10, rank=1)
    project.slurm.lose_node("n1")
    other.resume()
    wait_until(lambda: not other.is_running(), lambda: project.log(job))
    goes_on_once_the_node_is_back(project, job, "headless", "n1")
    assert [(end.restarts, end.words) for end in ends(folder)] == [(1, "finished")]


def goes_on_once_the_node_is_back(project: Project, job: int, run: str, node: str) -> None:
    # What SLURM finds out by itself after SlurmdTimeout (300 s); until then, the job counts as still ending there.
    project.slurm.client("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=lost")
    wait_until(lambda: project.states(job) == {"PENDING"}, lambda: project.log(job))
    [status] = project.status(run)
    assert (status["state"], status["job"]) == ("requeued", str(job))
    # Until the node has heard it, SLURM repeats its order to end what ran there, which may meet a new start as well.
    project.update(job, "StartTime=now+600")
    project.slurm.client("scontrol", "update", f"NodeName={node}", "State=RESUME")  # refused once the node is back
    project.slurm.start_node(node)
    wait_until(lambda: not messages_on_their_way(project), lambda: project.slurm.client("sdiag"))
    project.update(job, "StartTime=now+8")  # nodes refuse a job again for `cred_expire` after its last start
    project.wait_for_end(job, "COMPLETED")
    assert re.search(r"continuing at step [1-9]", project.log(job))
    assert_same_weights(project.run(run), project.run("whole"))


def messages_on_their_way(project: Project) -> int:
    """How many orders to nodes SLURM is sending, or will send again."""
    told = project.slurm.client("sdiag")
    [waiting] = re.findall(r"^Agent queue size: +(\d+)$", told, re.MULTILINE)
    [sending] = re.findall(r"^Agent count: +(\d+)$", told, re.MULTILINE)
    return int(waiting) + int(sending)


@pytest.mark.faults
def test_a_cancelled_job_is_submitted_again_and_goes_on_by_srun_alone(project: Project, whole: int) -> None:
    job, folder = project.submit("name=cancelled", "--launcher", "srun")
    project.suspend(job, "cancelled", steps=10)  # scancel sends SIGCONT as well
    again = project.deps("submit", *again_arguments(project), "--resume")
    assert again.returncode == 2
    assert f"is in job {job} already" in again.stderr
    project.slurm.client("scancel", str(job))
    project.wait_for_end(job, "CANCELLED")
    wait_until(lambda: bool(ends(folder)), lambda: project.log(job))
    assert ends(folder)[0].words == "stopped by SIGTERM"
    [status] = project.status("cancelled")
    assert (status["state"], without_hours(status)) == ("stopped", "cancelled")
    assert 10 <= status["step"] < 32

    refused = project.deps("submit", *again_arguments(project))
    assert refused.returncode == 2
    assert "is not empty; continue its run with --resume" in refused.stderr
    job, _ = project.submit("name=cancelled", "--launcher", "srun", "--resume")
    project.wait_for_end(job, "COMPLETED")
    assert f"continuing at step {status['step']}" in project.log(job)
    assert_same_weights(project.run("cancelled"), project.run("whole"))
    assert project.status("cancelled")[0]["job"] == str(job)


@pytest.mark.faults
def test_a_job_that_is_cancelled_while_it_saves_to_queue_again_stays_cancelled(project: Project) -> None:
    job, folder = project.submit("name=unwanted", "--launcher", "srun", nodes=1)
    process = project.suspend(job, "unwanted", steps=10)
    project.slurm.client("scancel", "--batch", "--signal=USR1", str(job))
    wait_until(lambda: is_pending(process.pid, signal.SIGUSR1), lambda: project.log(job))
    project.slurm.client("scancel", str(job))  # wakes it
    wait_until(lambda: bool(ends(folder)), lambda: project.log(job))
    assert [(end.exit_code, end.words) for end in ends(folder)] == [(138, "stopped by SIGTERM")]
    project.wait_for_end(job, "CANCELLED")
    [status] = project.status("unwanted")
    assert (status["state"], without_hours(status)) == ("stopped", "cancelled")


def again_arguments(project: Project) -> list[object]:
    [config] = project.folder.glob("jobs/cancelled-*/config.yaml")
    return [config, "--nodes", 2, "--gpus-per-node", 0]


@pytest.mark.faults
def test_deepspeeds_own_launcher_for_slurm_trains_the_same(project: Project, whole: int) -> None:
    engine = "engine={name: deepspeed, zero_stage: 0}"  # which adds in the order of DDP
    job, _ = project.submit("name=own", engine, "--launcher", "deepspeed-slurm")
    project.wait_for_end(job, "COMPLETED")
    assert "32 steps of 16 images on 2 × cpu by deepspeed (ZeRO 0)" in project.log(job)
    assert_same_weights(project.run("own"), project.run("whole"), by_the_same_engine=False)


@pytest.mark.faults
def test_seeds_make_an_array_of_runs_and_one_that_is_out_of_time_queues_again_alone(project: Project) -> None:
    job, folder = project.submit(
        "name=seeds", "--seeds", "3,4", "--launcher", "srun", "--sbatch=--export=NONE", nodes=1
    )
    # The last task is the one whose own number is the array's.
    last = project.suspend(job, "seeds-4", steps=10)
    project.slurm.client("scancel", "--batch", "--signal=USR1", f"{job}_1")
    wait_until(lambda: is_pending(last.pid, signal.SIGUSR1), lambda: project.log(job))
    last.resume()
    project.wait_for_end(job, "COMPLETED")
    for seed in (3, 4):
        assert json.loads((project.run(f"seeds-{seed}") / "run.json").read_text())["seed"] == seed
    statuses = project.status("seeds-3", "seeds-4")
    assert [status["state"] for status in statuses] == ["finished", "finished"]
    assert [status["job"] for status in statuses] == [f"{job}_0", f"{job}_1"]
    assert sorted((end.job, end.place, end.restarts, end.words) for end in ends(folder)) == [
        (job, 0, 0, "finished"),
        (job, 1, 0, "requeued"),
        (job, 1, 1, "finished"),
    ]
    other, same = (load_file(project.run(f"seeds-{seed}") / "supernet.safetensors") for seed in (3, 4))
    assert not all(torch.equal(same[name], tensor) for name, tensor in other.items())


def test_a_job_that_fails_is_told_with_its_exit_code_and_one_that_may_not_queue_again_as_stopped(
    project: Project, tmp_path: Path
) -> None:
    failing, _ = project.submit("name=failing", f"data.shards={tmp_path}", "--launcher", "srun", nodes=1)
    stopped, folder = project.submit("name=bounded", "--most-requeues", 0, "--launcher", "srun", nodes=1)
    waiting = project.suspend(stopped, "bounded", steps=5)
    project.slurm.client("scancel", "--batch", "--signal=USR1", str(stopped))
    wait_until(lambda: is_pending(waiting.pid, signal.SIGUSR1), lambda: project.log(stopped))
    waiting.resume()
    project.wait_for_end(stopped, "FAILED")
    project.wait_for_end(failing, "FAILED")
    assert ends(folder)[0].words == "stopped: not requeued: --most-requeues is 0"
    failed, bounded = project.status("failing", "bounded")
    assert (failed["state"], failed["remark"], failed["steps"]) == ("failed", "exit code 2", 0)
    assert (bounded["state"], without_hours(bounded)) == ("stopped", "not requeued: --most-requeues is 0")
    assert bounded["step"] >= 5
