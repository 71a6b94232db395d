"""`deps` in the process of the tests: what it prints, and its exit code, without the seconds that a process takes."""

import contextlib
import io
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import deps_command
from pipeline import cli
from tests.support.forked_program import REPOSITORY


class Done(NamedTuple):
    """A command that has ended."""

    returncode: int
    stdout: str
    stderr: str


def deps(*arguments: object, cwd: Path = REPOSITORY, environment: Mapping[str, str] | None = None) -> Done:
    """Run `deps ARGUMENTS…` here. An exception that would end a process in a traceback is raised.

    Args:
        environment: of the command, besides this process's.
    """
    with (
        mock.patch.dict(os.environ, environment or {}),
        mock.patch.object(sys, "argv", ["deps", *map(str, arguments)]),
        # As a process has them: each start adds the cluster's to them.
        mock.patch.object(cli.app, "registered_commands", [*cli.app.registered_commands]),
    ):
        return called(deps_command.main, cwd)


def called(program: Callable[[], object], cwd: Path) -> Done:
    """Call the main function of a program as if it were a process of its own."""
    output, errors = io.StringIO(), io.StringIO()
    with _chdir(cwd), contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors), _own_log():
        try:
            program()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    return Done(code, output.getvalue(), errors.getvalue())


def refused(done: Done | subprocess.CompletedProcess[str], code: int = 2) -> str:
    """The single line of a refusal, of a command that ran here or as a process."""
    assert done.returncode == code, done
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, done.stderr
    return lines[0]


@contextlib.contextmanager
def _chdir(folder: Path):
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@contextlib.contextmanager
def _own_log():
    """Have warnings go to the error stream of now, as in a process of its own, and not to pytest."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers = []
    try:
        yield
    finally:
        root.handlers = handlers
        root.setLevel(level)
