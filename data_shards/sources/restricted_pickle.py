"""Loads pickles of NumPy arrays and plain containers, and nothing else: a pickle may otherwise run any program."""

from __future__ import annotations

import codecs
import io
import pickle
from typing import Any

import numpy as np

# Old pickles name NumPy's functions by where they used to be. What is named here is taken from here, never imported.
_RECONSTRUCT: Any = np.empty(0).__reduce__()[0]
_SCALAR: Any = np.int64(0).__reduce__()[0]
_FROM_BUFFER: Any = np.empty(0).__reduce_ex__(5)[0]
_ADMITTED = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    # How Python 3 writes bytes in the format of Python 2.
    ("_codecs", "encode"): codecs.encode,
    ("__builtin__", "bytes"): bytes,
    **{
        (f"numpy.{core}.{module}", name): function
        for core in ("core", "_core")
        for module, name, function in (
            ("multiarray", "_reconstruct", _RECONSTRUCT),
            ("multiarray", "scalar", _SCALAR),
            ("numeric", "_frombuffer", _FROM_BUFFER),
        )
    },
}


class _RestrictedUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str, /) -> Any:
        try:
            return _ADMITTED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it wants {module}.{name}, and only NumPy arrays are admitted") from None


def load_arrays(pickled: bytes) -> Any:
    """What was pickled; text written by Python 2 becomes bytes. Raises ValueError, which tells why, if it cannot be."""
    try:
        return _RestrictedUnpickler(io.BytesIO(pickled), encoding="bytes").load()
    except Exception as error:  # damaged pickles fail in ways beyond listing
        raise ValueError(" ".join(str(error).split()) or type(error).__name__) from None
