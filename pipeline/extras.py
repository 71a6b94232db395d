"""Packages that not everybody needs, and which extra of this project brings them."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Literal

from pipeline.errors import UsageError

_DISTRIBUTION = "delayed-epsilon-shrinking"


def check_installed(what: str, extra: Literal["deploy", "hub"], *packages: str) -> None:
    """Make sure that what `what` needs is there.

    Args:
        packages: by the names that they are imported by.

    Raises:
        UsageError: naming those that are not installed, and how they are.
    """
    if missing := [name.replace("_", "-") for name in packages if find_spec(name) is None]:
        raise UsageError(f"{what} needs {', '.join(missing)}: pip install '{_DISTRIBUTION}[{extra}]'")
