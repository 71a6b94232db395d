"""Commands in real processes: on terminals and pipes of any encoding, closed, full, or read by nobody any more."""

import codecs
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.console.terminal import prepare_streams
from tests.support.command_line import REPOSITORY

# Several command lines in one process, each as a process of its own would meet it.
SEVERAL = """
import sys, deps_command
given, commands = sys.argv[1:], [[]]
for argument in given:
    commands.append([]) if argument == "NEXT" else commands[-1].append(argument)
for arguments in commands:
    sys.argv = ["deps", *arguments]
    try:
        deps_command.main()
    except SystemExit as end:
        print("ended with", end.code or 0, flush=True)
"""
LOCALES = {
    "ascii": {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    "iso-8859-1": {"PYTHONIOENCODING": "iso-8859-1"},
}
COMMANDS = {
    "--help": 0,
    "train --help": 0,
    "plan --help": 0,
    "submit --help": 0,
    "shards pack imagenet --help": 0,
    "describe mobilenet_v3": 0,
    "train recipes/digits.yaml engine.name=single --dry-run": 0,
    "train recipes/digits.yaml engine.name=single --dry-run --json": 0,
    "train recipes/nowhere→ε.yaml": 2,
    "train recipes/digits.yaml engine.name=single data.shards=données": 2,
    "status --runs nowhere-×": 0,
}


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "LC_", "LANG"))}
    return {**kept, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", **more}


@pytest.mark.parametrize("encoding", ["ascii", pytest.param("iso-8859-1", marks=pytest.mark.faults)])
def test_every_command_speaks_in_the_encoding_that_there_is(encoding: str) -> None:
    command = [sys.executable, "-c", SEVERAL, *" NEXT ".join(COMMANDS).split()]
    done = subprocess.run(command, env=environment(**LOCALES[encoding]), capture_output=True, cwd=REPOSITORY)
    output, errors = done.stdout.decode(encoding), done.stderr.decode(encoding)
    assert "Error" not in output + errors
    codes = [int(line.split()[-1]) for line in output.splitlines() if line.startswith("ended with")]
    assert codes == list(COMMANDS.values()), errors
    assert len(errors.splitlines()) == 2
    assert "Once-for-all training, by delayed eps-shrinking (DepspS)" in output
    # What programs read keeps its letters.
    assert json.loads(output[output.index("\n{") : output.rindex("\n}") + 2])["steps"] > 0


def test_letters_that_are_lacking_have_their_usual_stand_ins() -> None:
    prepare_streams()
    text = "ε 4 × 2 → … 0–1 数 \udce9"
    assert codecs.encode(text, "ascii", "deps-instead") == rb"eps 4 x 2 -> ... 0-1 ? \xe9"
    assert codecs.encode(text, "iso-8859-1", "deps-instead") == b"eps 4 \xd7 2 -> ... 0-1 ? \\xe9"
    assert codecs.encode("a \udce9 \ud800", "utf-8", "deps-instead") == rb"a \xe9 ?"


@pytest.mark.parametrize(
    ("arguments", "unbuffered"), [(["describe", "mobilenet_v3"], "1"), (["describe", "mobilenet_v3", "--json"], "")]
)
def test_a_pipe_that_nobody_reads_ends_a_command_as_it_ends_others(arguments: list[str], unbuffered: str) -> None:
    reads, writes = os.pipe()
    os.close(reads)
    command = [sys.executable, "-c", "import deps_command; deps_command.main()", *arguments]
    with open(writes, "wb") as pipe:
        done = subprocess.run(
            command, env=environment(PYTHONUNBUFFERED=unbuffered), stdout=pipe, stderr=subprocess.PIPE, cwd=REPOSITORY
        )
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, b"")


def test_an_output_that_is_full_is_told() -> None:
    command = [sys.executable, "-c", "import deps_command; deps_command.main()", "describe", "mobilenet_v3"]
    with open("/dev/full", "wb") as full:
        done = subprocess.run(command, env=environment(), stdout=full, stderr=subprocess.PIPE, cwd=REPOSITORY)
    assert (done.returncode, done.stderr) == (1, b"deps: No space left on device\n")


def test_streams_that_are_closed_are_done_without(tmp_path: Path) -> None:
    program = "import deps_command; deps_command.main()"
    closed = f'exec "{sys.executable}" -c "{program}" describe mobilenet_v3 >&- 2>&-'
    assert subprocess.run(["sh", "-c", closed], env=environment(), cwd=REPOSITORY).returncode == 0
