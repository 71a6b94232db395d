"""Gives Triton a place for what it compiles and tunes where its own, in the user's home, cannot be had."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from triton import knobs

from kernels.cache_folder import CacheRefused, check_place, in_own_folder


def settle_triton_cache() -> None:
    """Name a folder to Triton before the first kernel is compiled, unless the user has named one or its own can be had.

    Left alone, Triton would make a folder called `~` in the current one for a user without a home, and fail where the
    home cannot be written.
    """
    if os.environ.get("TRITON_CACHE_DIR") or os.environ.get("TRITON_HOME"):
        return
    try:
        check_place(Path(knobs.cache.dir))
    except CacheRefused:
        with suppress(CacheRefused):  # then Triton tells what it cannot do
            os.environ["TRITON_CACHE_DIR"] = str(in_own_folder(lambda folder: folder / "triton"))
