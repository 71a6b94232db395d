"""Whatever becomes of a file of a run: each command that reads it says so in a line, or gives what it gave before."""

import json
import os
import re
import shutil
import sys
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

import pytest
import typer

from cluster.cli import status_command
from pipeline.commands.evaluate import print_evaluation
from pipeline.commands.report import print_report
from pipeline.commands.sync import print_sync
from pipeline.commands.weights import print_weights
from pipeline.console.exit_codes import one_line_errors
from pipeline.evaluation.evaluate import Accuracy, Evaluator
from pipeline.experiment import train
from pipeline.files.json_file import write_json
from pipeline.recipe.reading import load_recipe
from pipeline.tracking import shipment
from tests.support.command_line import Done, called
from tests.support.processes import small_run

RUN = Path("runs/small")
NEWEST = "checkpoints/step-000000006"

READERS = {
    "config.yaml": ("evaluate", "report", "weights", "resume"),
    "run.json": ("evaluate", "report", "weights", "status", "resume"),
    "metrics.jsonl": ("report", "status", "sync", "resume"),
    "ledger.json": ("report", "status", "resume"),
    "held.txt": ("report", "status", "resume"),
    "evaluation.json": ("report",),
    "supernet.json": ("evaluate", "report", "status"),
    "supernet.safetensors": ("evaluate", "report", "status"),
    f"{NEWEST}.json": ("weights", "best", "resume"),
    f"{NEWEST}.safetensors": ("weights", "best", "resume"),
    "damage.json": ("resume",),
    "outbox.jsonl": ("sync",),
    "mlflow.json": ("sync",),
}


@dataclass
class Server:
    """What stands for MLflow."""

    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    now: ClassVar["Server"]

    @property
    def contents(self) -> list[str]:
        """What it has, however often."""
        return sorted({json.dumps(run, sort_keys=True) for run in self.runs.values()})


class FakeRun:
    def __init__(self, place: Any, experiment: str, name: str, key: str, run_id: str | None) -> None:
        self.run_id = run_id if run_id in Server.now.runs else key
        self.content = Server.now.runs.setdefault(self.run_id, {"experiment": experiment, "name": name})

    def send_metrics(self, points: list[Any]) -> None:
        self.content.setdefault("points", {}).update({f"{point.name} {point.step}": point.value for point in points})

    def start(self, params: dict[str, str], tags: dict[str, str]) -> None:
        self.content |= {"params": params, "tags": tags}

    def send_artifact(self, path: Path, folder: str | None) -> None:
        self.content.setdefault("artifacts", {})[path.name] = folder

    def finish(self, status: str) -> None:
        self.content["status"] = status

    def check_not_deleted(self, error: Exception) -> None: ...


def of_the_weights(evaluator: Evaluator, supernet: Any, *_: Any) -> Accuracy:
    """Other figures for other weights, at no cost."""
    top1 = float(sum(tensor.double().abs().sum() for tensor in supernet.state_dict().values())) % 100
    return Accuracy(top1, 100.0, 1.0, 1)


@pytest.fixture(scope="module", autouse=True)
def cheap():
    """Evaluation, plots and MLflow are not what is damaged here."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Evaluator, "subnet", of_the_weights)
        patched.setattr(Evaluator, "full_model", of_the_weights)
        patched.setattr("pipeline.reports.report._write", lambda approaches, output: [])
        patched.setattr(shipment, "MlflowRun", FakeRun)
        yield


@dataclass
class Whole:
    """A finished run, what MLflow has of it, and what each command gives."""

    place: Path
    server: Server
    overrides: list[str]
    given: dict[str, Any] = field(default_factory=dict)


@pytest.fixture(scope="module")
def whole(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    place, Server.now = tmp_path_factory.mktemp("whole"), Server()
    overrides = [
        *small_run(digits, Path("runs")),
        *("name=small", "engine={name: single}", "data.workers=0", "batch_size=8", "space.resolutions=[16]"),
        *("schedule.duration=6 steps", "schedule.full_model_warmup=3 steps", "schedule.epsilon_ramp=1 steps"),
        *(
            "checkpoint={every: 3 steps, keep: 2}",
            "data.on_corrupt=skip",
            "tracking={mlflow: true, uri: 'http://127.0.0.1:1'}",
        ),
        "evaluation={every: 3 steps, recalibration_samples: 8, batch_size: 64, full_when_shrinking: 0}",
    ]
    told_in_lines(lambda: train(load_recipe(Path(overrides[0]), overrides[1:]), resume=False), place)
    call("evaluate", place, overrides)
    note_what_was_held(place / RUN)
    write_json(place / RUN / "damage.json", {"damaged_samples": 0, "by_shard": {}, "shards": {}})
    run = Whole(place, Server.now, overrides)
    for command in {reader for readers in READERS.values() for reader in readers}:
        copy = tmp_path_factory.mktemp("copy")
        begin(run, copy)
        done, run.given[command] = call(command, copy, overrides)
        assert (done.returncode, "Traceback" in done.stderr) == (0, False), done
    return run


def note_what_was_held(folder: Path) -> None:
    [segment] = json.loads((folder / "ledger.json").read_text())["segments"]
    since = int(datetime.fromisoformat(segment["started"]).timestamp())
    (folder / "held.txt").write_text(f"{since} {since + 3600} {2 * since + 3600}\n")


def begin(whole: Whole, place: Path) -> Path:
    Server.now = deepcopy(whole.server)
    return shutil.copytree(whole.place / RUN, place / RUN)


def told_in_lines(do: Callable[[], object], place: Path) -> Done:
    """What `deps` does with a command, but for reading its options, which takes most of the time."""

    def program() -> None:
        with one_line_errors("deps"):
            try:
                do()
            except typer.Exit as end:
                sys.exit(end.exit_code)

    return called(program, place)


def call(command: str, place: Path, overrides: list[str]) -> tuple[Done, Any]:
    """A command, without its command line, and the figures that it gives."""
    run = place / RUN
    if command == "resume":
        done = told_in_lines(lambda: train(load_recipe(Path(overrides[0]), overrides[1:]), resume=True), place)
        saved = run / "supernet.safetensors"
        earlier = json.loads((run / "ledger.json").read_text())["segments"][:-1] if done.returncode == 0 else []
        return done, (saved.read_bytes() if saved.is_file() else None, earlier)
    if command in ("weights", "best"):
        done = told_in_lines(lambda: print_weights(RUN, command == "best", Path("out")), place)
        return done, {path.name: path.read_bytes() for path in place.glob("out/*")}
    if command == "sync":
        return told_in_lines(lambda: print_sync(RUN, None, as_json=False), place), Server.now.contents
    printing: dict[str, Callable[[], None]] = {
        "evaluate": lambda: print_evaluation(RUN, (), as_json=True),
        "report": lambda: print_report([RUN], None, as_json=True),
        "status": lambda: status_command([RUN], as_json=True),
    }
    done = told_in_lines(printing[command], place)
    return done, done.stdout.replace(str(place), "")


def emptied(content: bytes) -> bytes:
    return b""


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def zeroed(content: bytes) -> bytes:
    return bytes(len(content))


def flipped(place: float) -> Callable[[bytes], bytes]:
    def flip(content: bytes) -> bytes:
        at = int(place * (len(content) - 1))
        return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]

    return flip


def no_text(content: bytes) -> bytes:
    return content[: len(content) // 2] + b"\xff\xfe" + content[len(content) // 2 :]


def nested(content: bytes) -> bytes:
    return b'{"a":' * 100_000 + b"1" + b"}" * 100_000


def huge_number(content: bytes) -> bytes:
    """The first number becomes one of 5000 digits."""
    return re.sub(rb"(?<=: )\d+", b"9" * 5000, content, count=1) if b": " in content else b"9" * 5000


def twice(content: bytes) -> bytes:
    """The first key of the first object comes again, with another value."""
    return content.replace(b"{", b'{"step": 7, "name": "x", "unit": "y", "uri": "z", "subnets": [], ', 1)


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    **{damage.__name__: damage for damage in (emptied, cut, zeroed, no_text, nested, huge_number, twice)},
    **{f"flipped at {place}": flipped(place) for place in (0.0, 0.37, 0.62, 0.99, 1.0)},
}
REPLACED = ("missing", "a folder", "a FIFO", "a device")

# Nothing tells that there were notes of what was held, or that a run was sent before; a run may be not evaluated yet.
UNKNOWN = {("held.txt", "emptied"), ("held.txt", "missing"), ("damage.json", "missing"), ("mlflow.json", "missing")}

# What is not there shows in the table itself.
SHOWN = {("supernet.safetensors", "missing", "status")}  # a run that is stopped, as it did not get to its weights


def do(damage: str, path: Path) -> None:
    content = path.read_bytes()
    path.unlink()
    if damage in DAMAGES:
        path.write_bytes(DAMAGES[damage](content))
    elif damage == "a folder":
        path.mkdir()
    elif damage == "a FIFO":
        os.mkfifo(path)
    elif damage == "a device":
        path.symlink_to("/dev/zero")


@pytest.mark.parametrize("damage", [*DAMAGES, *REPLACED])
@pytest.mark.parametrize("name", READERS)
def test_damage_is_told_in_a_line_or_changes_nothing(whole: Whole, tmp_path: Path, name: str, damage: str) -> None:
    if (name, damage) in UNKNOWN:
        return
    for command in READERS[name]:
        place = tmp_path / command
        do(damage, begin(whole, place) / name)
        done, given = call(command, place, whole.overrides)
        assert "Traceback" not in done.stderr
        lines = done.stderr.replace(f"{place}/", "").splitlines()
        told = [line for line in lines if Path(name).stem in line or "not evaluated yet" in line]
        assert all(len(line) <= 300 and line.isprintable() for line in told), told
        if done.returncode:
            assert done.returncode in (1, 2)
            assert [line for line in lines if line.startswith("deps: ")] == lines[-1:], done.stderr
            assert told, done.stderr
        elif not told and (name, damage, command) not in SHOWN:
            assert given == whole.given[command], f"{command} gives something else, and says nothing"
