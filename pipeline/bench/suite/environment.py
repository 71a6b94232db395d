"""Sets up the Python environment of `make gpu`; with the standard library alone, as nothing is installed yet.

    python3.12 pipeline/bench/suite/environment.py FOLDER [WHEELS]

Machines with GPUs often have a torch of their own, built for their driver. It is used where the Python that runs this
has one: the environment sees that Python's packages, and torch and Triton stay as they are. Where there is no network,
packages come from WHEELS, a folder. Where there is no GPU, that is said in one line, with exit code 2, before anything
else.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
KEPT = ("torch", "triton")
_LEAST = (3, 10)


class NotPossibleError(Exception):
    """What a user can set right, in one line."""


def main(arguments: list[str]) -> int:
    """Set the environment up, or bring it up to date; the exit code."""
    try:
        check_machine()
        folder, wheels = Path(arguments[0]), checked_wheels(arguments[1:])
    except NotPossibleError as reason:
        print(f"make gpu: {reason}", file=sys.stderr)
        return 2
    installed = installed_here()
    create(folder, sees_all="torch" in installed)
    constraints = folder / "constraints.txt"
    pinned = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    constraints.write_text("\n".join(constraints_beside(installed, pinned)), encoding="utf-8")
    for packages in (["torch", "numpy"], ["--editable", f"{ROOT}[dev]"]):
        if code := subprocess.call(pip(folder, constraints, wheels, packages)):
            return code
    if subprocess.call(pip(folder, constraints, wheels, ["--editable", f"{ROOT}[dali]"])):
        print("make gpu: NVIDIA DALI could not be installed: its part is left out", file=sys.stderr)
    return 0


def check_machine() -> None:
    """Whether a GPU and a Python are here with which it is worth beginning.

    Raises:
        NotPossibleError: saying what is missing.
    """
    if not has_gpu():
        raise NotPossibleError(
            "needs an NVIDIA GPU, and neither nvidia-smi nor /dev/nvidia0 tells of one; nothing was done"
        )
    if sys.version_info < _LEAST:
        raise NotPossibleError("needs Python >= 3.10; choose one with: make gpu PYTHON=python3.12")


def has_gpu() -> bool:
    """Whether the driver has a GPU, as far as can be known without torch."""
    try:
        told = subprocess.run(["nvidia-smi", "-L"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    except OSError:
        return Path("/dev/nvidia0").exists()
    return b"GPU" in told.stdout or Path("/dev/nvidia0").exists()


def checked_wheels(given: list[str]) -> Path | None:
    """The folder of wheels; None where packages come from the network.

    Raises:
        NotPossibleError: there is no such folder.
    """
    if not given:
        return None
    folder = Path(given[0]).resolve()
    if not folder.is_dir():
        raise NotPossibleError(f"WHEELS: {given[0]} is no folder")
    return folder


def installed_here() -> dict[str, str]:
    """Versions of those of `KEPT` that the Python which runs this has."""
    found = {}
    for name in KEPT:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def create(folder: Path, sees_all: bool) -> None:
    """Make an environment of the Python which runs this.

    Args:
        sees_all: whether it shall have that one's packages. Where that one is an environment itself, `venv` would give
            those of the Python below it.
    """
    subprocess.check_call([sys.executable, "-m", "venv", *(["--system-site-packages"] if sees_all else []), folder])
    if sees_all and sys.prefix != sys.base_prefix:
        packages = sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)})
        theirs = dict.fromkeys((sysconfig.get_path("purelib"), sysconfig.get_path("platlib")))
        (Path(packages) / "theirs.pth").write_text("".join(f"{each}\n" for each in theirs), encoding="utf-8")


def constraints_beside(installed: dict[str, str], pinned: str) -> list[str]:
    """The project's pinned versions, but for what is installed already, which stays; and but for Triton beside a torch
    that is, as each torch has its own.

    Args:
        installed: versions by package, of `KEPT`.
        pinned: the content of constraints.txt.
    """
    if "torch" not in installed:
        return pinned.splitlines()
    others = [line for line in pinned.splitlines() if line.split("==")[0] not in KEPT]
    return [*others, *(f"{name}=={number}" for name, number in installed.items())]


def pip(folder: Path, constraints: Path, wheels: Path | None, packages: list[str]) -> list[str]:
    """The command that installs `packages`."""
    source = [] if wheels is None else ["--no-index", "--find-links", str(wheels)]
    return [str(folder / "bin" / "pip"), "install", "--quiet", "--constraint", str(constraints), *source, *packages]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
