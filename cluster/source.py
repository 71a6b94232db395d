"""The version of the code that a job trains with: copied into its folder, so that later edits do not touch it."""

from __future__ import annotations

import errno
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("pipeline", "kernels", "data_shards", "cluster")


def freeze(to: Path) -> dict[str, str | None]:
    """Copy our packages into the folder `to`: of a clean checkout the commit's, else as they are.

    Returns:
        `commit`, None outside a checkout, and `state`: "clean", "edited" or "not a checkout".

    Raises:
        OSError: something could not be copied.
    """
    to.mkdir()
    commit = _git("rev-parse", "HEAD")
    if commit is None:
        _copy(to)
        return {"commit": None, "state": "not a checkout"}
    if _git("status", "--porcelain", "--", *PACKAGES) != "":  # edited, or git cannot tell
        _copy(to)
        return {"commit": commit.strip(), "state": "edited"}
    with subprocess.Popen(["git", "archive", "HEAD", *PACKAGES], cwd=ROOT, stdout=subprocess.PIPE) as archive:
        extract = ["tar", "--extract", "--directory", str(to)]
        done = subprocess.run(extract, stdin=archive.stdout, capture_output=True, encoding="utf-8", errors="replace")
    if done.returncode or archive.returncode:
        raise OSError(errno.EIO, next(iter(done.stderr.splitlines()), "git archive failed"))
    return {"commit": commit.strip(), "state": "clean"}


def _git(*arguments: str) -> str | None:
    """What git prints about our checkout; None where there is no git, or we are not in a checkout of our own."""
    if not (ROOT / ".git").exists():
        return None
    try:
        return subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, encoding="utf-8", errors="replace", check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return None


def _copy(to: Path) -> None:
    for package in PACKAGES:
        try:
            shutil.copytree(ROOT / package, to / package, ignore=shutil.ignore_patterns("__pycache__"))
        except shutil.Error as error:  # its arguments list all files that failed, each with its reason
            _, _, reason = error.args[0][0]
            raise OSError(errno.EIO, reason) from None
