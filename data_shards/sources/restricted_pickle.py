"""Reads the pickles in which CIFAR is published, and no others: a pickle is a program, which may do anything.

Only a few instructions are followed: those with which Python 2 wrote the archives, and those with which Python 3 writes
the same content (protocols 2 to 5). They build dictionaries, lists, tuples, small integers and strings. Nothing is
imported and nothing is called; of an array, NumPy is given the bytes and the shape and nothing else.
"""

from __future__ import annotations

import math
import pickle
import pickletools
from collections.abc import Callable
from typing import Any

import numpy as np

# CIFAR-100 takes 200,000 instructions; 560,000 if Python 3 has written it in the format of Python 2.
_MOST_INSTRUCTIONS = 1_000_000
_LONGEST_NAME = 64  # of a function in a pickle
_NAMES = {each.code: each.name for each in pickletools.opcodes}

_CONSTANTS = {pickle.NONE: None, pickle.NEWTRUE: True, pickle.NEWFALSE: False}
_EMPTY: dict[bytes, Callable[[], Any]] = {pickle.EMPTY_DICT: dict, pickle.EMPTY_LIST: list, pickle.EMPTY_TUPLE: tuple}
_TUPLES = {pickle.TUPLE1: 1, pickle.TUPLE2: 2, pickle.TUPLE3: 3}
# The number of bytes that hold the number itself, or the length of what follows.
_INTEGERS = {pickle.BININT1: 1, pickle.BININT2: 2, pickle.BININT: 4}
_BYTES = {
    pickle.SHORT_BINSTRING: 1,  # text of Python 2
    pickle.BINSTRING: 4,
    pickle.SHORT_BINBYTES: 1,
    pickle.BINBYTES: 4,
    pickle.BINBYTES8: 8,
    pickle.BYTEARRAY8: 8,
}
_TEXTS = {pickle.SHORT_BINUNICODE: 1, pickle.BINUNICODE: 4, pickle.BINUNICODE8: 8}
_PUT = {pickle.BINPUT: 1, pickle.LONG_BINPUT: 4}
_GET = {pickle.BINGET: 1, pickle.LONG_BINGET: 4}


class _Name(str):
    """A function or class that a pickle names. It is never called: the reader does what it stands for."""


_ARRAY = _Name("ndarray")
_DTYPE = _Name("dtype")
_RECONSTRUCT = _Name("_reconstruct")
_FROM_BUFFER = _Name("_frombuffer")
_ENCODE = _Name("encode")
_NO_BYTES = _Name("bytes")
_ADMITTED = {
    "numpy.ndarray": _ARRAY,
    "numpy.dtype": _DTYPE,
    # In older versions of NumPy the functions are in other modules.
    "numpy.core.multiarray._reconstruct": _RECONSTRUCT,
    "numpy._core.multiarray._reconstruct": _RECONSTRUCT,
    "numpy.core.numeric._frombuffer": _FROM_BUFFER,
    "numpy._core.numeric._frombuffer": _FROM_BUFFER,
    # How Python 3 writes bytes in the format of Python 2.
    "_codecs.encode": _ENCODE,
    "__builtin__.bytes": _NO_BYTES,
}


class _Made:
    """The result of a call, before its state is set: an empty array, or the dtype of uint8."""


_UINT8 = _Made()


def load_arrays(pickled: bytes) -> dict[Any, Any]:
    """The dictionary that was pickled; text written by Python 2 becomes bytes.

    Memory and time are in proportion to the size of `pickled`, and at most those of a million instructions.

    Raises:
        ValueError: it is damaged, or has anything in it that the published files do not have; the text tells what.
    """
    reader = _Reader(pickled)
    try:
        return reader.read()
    except (IndexError, KeyError, TypeError) as error:
        # The stack or the memo lacks something, or has something else: no program wrote this pickle.
        raise ValueError(f"its instructions do not fit together at byte {reader.position}") from error


class _Reader:
    """Follows the instructions of a pickle.

    Attributes:
        position: of the next instruction, in bytes.
    """

    def __init__(self, pickled: bytes):
        self.position = 0
        self._pickled = pickled
        self._stack: list[Any] = []
        self._marks: list[int] = []  # heights of the stack
        self._memo: dict[int, Any] = {}
        self._encoded = 0  # characters, of all that was encoded

    def read(self) -> dict[Any, Any]:
        for _ in range(_MOST_INSTRUCTIONS):
            opcode = self._take(1)
            if opcode == pickle.STOP:
                return self._end()
            self._follow(opcode)
        raise ValueError(f"it has more than {_MOST_INSTRUCTIONS:,} instructions")

    def _end(self) -> dict[Any, Any]:
        if self.position != len(self._pickled):
            raise ValueError(f"{len(self._pickled) - self.position} bytes follow its end")
        if type(self._stack[-1]) is not dict:
            raise ValueError("it holds no dictionary")
        return self._stack[-1]

    def _follow(self, opcode: bytes) -> None:
        stack = self._stack
        if opcode in _CONSTANTS:
            stack.append(_CONSTANTS[opcode])
        elif opcode in _INTEGERS:
            stack.append(self._number(_INTEGERS[opcode], signed=opcode == pickle.BININT))
        elif opcode in _BYTES:
            stack.append(self._take(self._number(_BYTES[opcode])))
        elif opcode in _TEXTS:
            stack.append(self._take(self._number(_TEXTS[opcode])).decode())
        elif opcode in _EMPTY:
            stack.append(_EMPTY[opcode]())
        elif opcode == pickle.MARK:
            self._marks.append(len(stack))
        elif opcode in _TUPLES:
            stack.append(tuple(self._pop(_TUPLES[opcode])))
        elif opcode == pickle.TUPLE:
            stack.append(tuple(self._pop_to_mark()))
        elif opcode in (pickle.APPEND, pickle.APPENDS):
            items = self._pop(1) if opcode == pickle.APPEND else self._pop_to_mark()
            self._top(list).extend(items)
        elif opcode in (pickle.SETITEM, pickle.SETITEMS):
            self._set_items(self._pop(2) if opcode == pickle.SETITEM else self._pop_to_mark())
        elif opcode in _PUT:
            self._memo[self._number(_PUT[opcode])] = stack[-1]
        elif opcode == pickle.MEMOIZE:
            self._memo[len(self._memo)] = stack[-1]
        elif opcode in _GET:
            stack.append(self._memo[self._number(_GET[opcode])])
        elif opcode == pickle.GLOBAL:
            stack.append(_admitted(self._line(), self._line()))
        elif opcode == pickle.STACK_GLOBAL:
            stack.append(_admitted(*self._pop(2)))
        elif opcode == pickle.REDUCE:
            stack.append(self._call(*self._pop(2)))
        elif opcode == pickle.BUILD:
            stack.append(_built(*self._pop(2)))
        elif opcode == pickle.PROTO:
            self._take(1)
        elif opcode == pickle.FRAME:
            self._take(8)
        else:
            name = _NAMES.get(opcode.decode("latin-1"), f"{opcode[0]:#04x}")
            raise ValueError(f"the published files have no {name}, as it has at byte {self.position - 1}")

    def _take(self, size: int) -> bytes:
        taken = self._pickled[self.position : self.position + size]
        if len(taken) < size:
            raise ValueError(f"it is cut: it ends within what begins at byte {self.position}")
        self.position += size
        return taken

    def _number(self, size: int, signed: bool = False) -> int:
        return int.from_bytes(self._take(size), "little", signed=signed)

    def _line(self) -> str:
        end = self._pickled.find(b"\n", self.position, self.position + _LONGEST_NAME)
        if end < 0:
            raise ValueError(f"it names a function in more than {_LONGEST_NAME} bytes at byte {self.position}")
        return self._take(end + 1 - self.position)[:-1].decode()

    def _pop(self, count: int) -> list[Any]:
        return [self._stack.pop() for _ in range(count)][::-1]

    def _pop_to_mark(self) -> list[Any]:
        mark = self._marks.pop()
        items = self._stack[mark:]
        del self._stack[mark:]
        return items

    def _top(self, kind: type) -> Any:
        if type(self._stack[-1]) is not kind:
            raise TypeError
        return self._stack[-1]

    def _set_items(self, items: list[Any]) -> None:
        keys = items[::2]
        if len(items) % 2 or not all(type(key) in (bytes, str) for key in keys):
            raise TypeError  # tuples that hold each other would be hashed without end
        self._top(dict).update(zip(keys, items[1::2], strict=True))

    def _call(self, function: Any, arguments: Any) -> Any:
        count = len(arguments) if type(arguments) is tuple else -1
        if function is _RECONSTRUCT and count == 3 and arguments[0] is _ARRAY:
            return _Made()
        if function is _DTYPE and count == 3 and _text(arguments[0]) in ("u1", "|u1"):
            return _UINT8
        if function is _FROM_BUFFER and count == 4:
            buffer, dtype, shape, order = arguments
            return _array(buffer, dtype, shape, {"C": False, "F": True}[_text(order)])
        if function is _ENCODE and count == 2 and _text(arguments[1]) == "latin1":
            return self._encode(arguments[0])
        if function is _NO_BYTES and count == 0:
            return b""
        raise ValueError("it holds something else than arrays of uint8, lists, integers and strings")

    def _encode(self, text: Any) -> bytes:
        self._encoded += len(text)
        if type(text) is not str or self._encoded > len(self._pickled):  # one text, again and again
            raise TypeError
        return text.encode("latin-1")


def _admitted(module: Any, name: Any) -> _Name:
    path = f"{_text(module)[:_LONGEST_NAME]}.{_text(name)[:_LONGEST_NAME]}"
    if path not in _ADMITTED:
        raise ValueError(f"it wants {ascii(path)[1:-1][:80]}, and only what makes arrays of uint8 is admitted")
    return _ADMITTED[path]


def _built(made: Any, state: Any) -> Any:
    """`made`, with its state set."""
    if type(made) is not _Made or type(state) is not tuple or len(state) != (8 if made is _UINT8 else 5):
        raise TypeError
    if made is not _UINT8:
        _, shape, dtype, by_columns, buffer = state
        return _array(buffer, dtype, shape, by_columns)
    if any(part is not None and type(part) is not int and _text(part) != "|" for part in state):
        raise ValueError("it holds a dtype with fields")
    return made


def _array(buffer: Any, dtype: Any, shape: Any, by_columns: Any) -> np.ndarray:
    if dtype is not _UINT8 or type(buffer) is not bytes:
        raise ValueError("it holds an array of something else than uint8")
    if type(shape) is not tuple or not 0 < len(shape) < 3 or not all(type(side) is int and side >= 0 for side in shape):
        raise ValueError("it holds an array of another shape than a list's or a table's")
    if math.prod(shape) != len(buffer):
        raise ValueError(f"it holds an array of {' × '.join(map(str, shape))} with {len(buffer)} bytes")
    return np.frombuffer(buffer, np.uint8).reshape(shape, order="F" if by_columns else "C")


def _text(what: Any) -> str:
    """A string, written by Python 2 or 3."""
    if type(what) is bytes:
        return what.decode("latin-1")
    if type(what) is not str:
        raise TypeError
    return what
