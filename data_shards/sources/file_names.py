"""Names of files as text: the same text whatever the machine's locale is, and readable in messages.

A name consists of bytes, usually UTF-8. Bytes that are not UTF-8 are kept as lone surrogates, as `os.fsdecode` keeps
them; these can neither be printed nor be written to JSON.
"""

from __future__ import annotations

import os
import unicodedata

_SURROGATES = range(0xDC80, 0xDD00)  # they stand for the bytes 80 to ff
_UNPRINTABLE = {"Cc", "Cs", "Zl", "Zp"}  # control characters, surrogates, line and paragraph separators


def as_text(name: str | os.PathLike[str]) -> str:
    """A name or path that the system gave, read as UTF-8."""
    return os.fsencode(name).decode("utf-8", "surrogateescape")


def as_name(text: str) -> str:
    """The name of which `as_text` made the text."""
    return os.fsdecode(text.encode("utf-8", "surrogateescape"))


def printable(text: str) -> str:
    """The text with escapes, such as \\xe9 or \\n, for bytes that are not UTF-8 and for control characters."""
    return text if text.isprintable() else "".join(map(_printable, text))


def composed(text: str) -> str:
    """The same text for all texts that look the same: é may be one character, or an e and an accent."""
    return unicodedata.normalize("NFC", text)


def _printable(character: str) -> str:
    if ord(character) in _SURROGATES:
        return f"\\x{ord(character) - 0xDC00:02x}"
    unprintable = unicodedata.category(character) in _UNPRINTABLE
    return character.encode("unicode_escape").decode() if unprintable else character
