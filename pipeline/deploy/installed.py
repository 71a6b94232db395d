"""Whether what writes and runs ONNX files is there; it is an extra."""

from __future__ import annotations

from importlib.util import find_spec

from pipeline.errors import UsageError

_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
_DISTRIBUTION = "delayed-epsilon-shrinking"


def check_installed(what: str) -> None:
    """Raises UsageError where a package is missing that `what` needs."""
    if missing := [name for name in _PACKAGES if find_spec(name) is None]:
        raise UsageError(f"{what} needs {', '.join(missing)}: pip install '{_DISTRIBUTION}[deploy]'")
