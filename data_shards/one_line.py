"""Text for people at a terminal: one line, not too long, without control characters."""

from __future__ import annotations

import re
import reprlib

MOST = 300  # characters

# Whatever separates lines, and tabs; with the spaces around it, it becomes one space.
_BREAKS = re.compile(r"\s*[\t-\r\x1c-\x1e\x85\u2028\u2029]\s*")

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 60


def one_line(text: object, most: int = MOST) -> str:
    """`text` in one line of at most `most` characters, with control characters as escapes.

    Where it is too long, its longest words lose their middle, so that a path keeps both its ends. If that is not
    enough, the text loses its own.
    """
    line = readable(_BREAKS.sub(" ", str(text)).strip())
    for width in (most // 2, most // 4, most // 8):
        if len(line) > most:
            line = re.sub(rf"\S{{{width + 1},}}", lambda word, width=width: _without_middle(word[0], width), line)
    return _without_middle(line, most)


def readable(text: str) -> str:
    """`text` with an escape, such as `\\x1b` or `\\u202e`, for each character that is not printable.

    These are control characters, those that turn the writing direction, and halves of surrogate pairs.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else _escaped(each) for each in text)


def shown(value: object) -> str:
    """`value` as Python writes it, for a message; where it is long, without its middle."""
    return _without_middle(_SHORT.repr(value), 2 * _SHORT.maxstring)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def _without_middle(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    end = (most - 1) // 2
    return f"{text[: most - 1 - end]}…{text[-end:]}"
