"""A user without a home, or with one that cannot be written: ordinary in containers that run under a number.

Libraries look for a home when they are imported. So this is done before that, when the package is.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from kernels.cache_folder import CacheRefused, own_folder


def settle_home() -> None:
    """Name a home where there is none, as MLflow cannot be imported without one, and a place for matplotlib's cache.

    What the user has named stays. What our own kernels do without a home: see `kernels.cache_folder`.
    """
    try:
        home = Path.home()
    except RuntimeError:  # neither HOME nor an entry in passwd
        home = Path(os.sep)  # as container runtimes have it
        os.environ["HOME"] = str(home)
    if os.access(home, os.W_OK | os.X_OK, effective_ids=True) or {"MPLCONFIGDIR", "XDG_CONFIG_HOME"} & set(os.environ):
        return
    with suppress(CacheRefused, OSError):  # then matplotlib makes one for each process, and tells how to spare that
        os.environ["MPLCONFIGDIR"] = str(own_folder(Path(tempfile.gettempdir(), f"deps-matplotlib-{os.geteuid()}")))
