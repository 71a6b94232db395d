"""The standard streams as a program finds them: closed, of any encoding, or with nobody left to read them."""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import sys

# What our own texts hold, in ASCII. The rest of what an encoding lacks is a question mark.
_INSTEAD = str.maketrans(
    {
        "ε": "eps",
        "α": "alpha",
        "η": "eta",
        "τ": "tau",
        "µ": "u",
        "×": "x",
        "→": "->",
        "…": "...",
        "·": "-",
        "–": "-",
        "−": "-",
        "±": "+-",
        "²": "^2",
        "≤": "<=",
        "≥": ">=",
        "°": " deg",
    }
)
_HANDLER = "deps-instead"


def prepare_streams() -> None:
    """Have the standard output and the error stream take every text, whatever their encoding.

    A closed one is replaced by none, so that no file which is opened later gets its number, and what is printed.
    """
    codecs.register_error(_HANDLER, _instead)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 (open to the end)
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_HANDLER)


def silence_streams() -> None:
    """Have both streams lead nowhere, as what is still in their buffers is written when the program ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # not one of the system's, as in tests
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def takes_unicode() -> bool:
    """Whether the standard output can write all characters, or does not say that it cannot."""
    encoding = getattr(sys.stdout, "encoding", None)
    return encoding is None or codecs.lookup(encoding).name.startswith("utf")


def _instead(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end].translate(_INSTEAD)
    return "".join(each if each.isascii() else _unknown(each) for each in lacking), error.end


def _unknown(character: str) -> str:
    """Of a file's name in another encoding, Python keeps single bytes: these are told."""
    return f"\\x{ord(character) - 0xDC00:02x}" if "\udc80" <= character <= "\udcff" else "?"
