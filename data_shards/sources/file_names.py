"""Names of files as text: the same in whatever language the machine is set up, and readable in messages.

A name is bytes, by custom UTF-8. Bytes that are not are kept as lone surrogates, as `os.fsdecode` does; nothing can
print these, or keep them in JSON.
"""

from __future__ import annotations

import os
import unicodedata

_SURROGATES = range(0xDC80, 0xDD00)  # which stand for the bytes 80 to ff
_UNPRINTABLE = {"Cc", "Cs", "Zl", "Zp"}  # control characters, surrogates, line and paragraph separators


def as_text(name: str | os.PathLike[str]) -> str:
    """A name that the system gave, or a path, as UTF-8 has it."""
    return os.fsencode(name).decode("utf-8", "surrogateescape")


def as_name(text: str) -> str:
    """What `as_text` was given."""
    return os.fsdecode(text.encode("utf-8", "surrogateescape"))


def readable(text: str) -> str:
    """The text with escapes, such as \\xe9 or \\n, for what is no UTF-8 and for what would command a terminal."""
    return text if text.isprintable() else "".join(map(_readable, text))


def composed(text: str) -> str:
    """What is the same for texts that look the same: é is one character, or an e and an accent."""
    return unicodedata.normalize("NFC", text)


def _readable(character: str) -> str:
    if ord(character) in _SURROGATES:
        return f"\\x{ord(character) - 0xDC00:02x}"
    unprintable = unicodedata.category(character) in _UNPRINTABLE
    return character.encode("unicode_escape").decode() if unprintable else character
