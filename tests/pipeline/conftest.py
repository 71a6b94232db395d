"""Shared by the tests of the pipeline: the command line in this process."""

import sys
from collections.abc import Callable

import pytest

from pipeline.cli import main


@pytest.fixture
def deps(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """The command line in this process; gives its exit code."""

    def run(*arguments: object) -> int:
        monkeypatch.setattr(sys, "argv", ["deps", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0)

    return run
