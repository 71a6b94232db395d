"""What a kernel's code consists of: how wide it reads and writes memory, and its instructions within their loops."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

_BITS = {"8": 1, "16": 2, "32": 4, "64": 8, "128": 16}
_ACCESS = re.compile(r"\b(ld|st)\.global((?:\.[\w:]+)*?)(?:\.v(\d))?\.[bsuf](\d+)\b")
_ASYNCHRONOUS = re.compile(r"\bcp\.async\.c[ag]\.shared\.global\S* \[[^\]]*\], \[[^\]]*\], (0x[0-9a-f]+|\d+)")

_LABEL = re.compile(r"^(\w+):$")
_INSTRUCTION = re.compile(r"^\S+\t(?:@!?U?P\w+ )?([A-Z][\w.]*)(.*)$")
_TARGET = re.compile(r"\b(LBB\d+)\b")

_PADDING = "NOP"  # behind the program's end


class Widths(NamedTuple):
    """How many instructions read and write global memory, by the bytes that a thread moves with each."""

    loads: Counter[int]
    stores: Counter[int]


def widths(ptx: str) -> Widths:
    """Of the accesses in PTX, copies to shared memory among the loads."""
    loads: Counter[int] = Counter()
    stores: Counter[int] = Counter()
    for kind, _, count, bits in _ACCESS.findall(ptx):
        (loads if kind == "ld" else stores)[int(count or 1) * _BITS[bits]] += 1
    for size in _ASYNCHRONOUS.findall(ptx):
        loads[int(size, 0)] += 1
    return Widths(loads, stores)


class Instruction(NamedTuple):
    """One machine instruction, and how many loops it is in."""

    name: str  # with its modifiers, as "LDG.E.128"
    depth: int


def instructions(assembly: str) -> tuple[Instruction, ...]:
    """Of a disassembled kernel (`Code.assembly`), in order, without what is never issued.

    A loop reaches from a label to the last jump back to it. Within it, what only some threads do counts as done by all.
    """
    found: list[str] = []
    labels: dict[str, int] = {}
    jumps: list[tuple[int, str]] = []
    for line in assembly.splitlines():
        if label := _LABEL.match(line):
            labels[label[1]] = len(found)
        elif instruction := _INSTRUCTION.match(line):
            if instruction[1].startswith("BRA") and (target := _TARGET.search(instruction[2])):
                jumps.append((len(found), target[1]))
            found.append(instruction[1])
    loops: dict[int, int] = {}
    for place, label in jumps:
        # A jump to itself, after the end, fills up the code.
        if labels[label] < place:
            loops[labels[label]] = max(place, loops.get(labels[label], 0))
    return tuple(
        Instruction(name, sum(first <= place <= last for first, last in loops.items()))
        for place, name in enumerate(found)
        if name != _PADDING
    )


def loop_depth(code: Sequence[Instruction]) -> int:
    return max(each.depth for each in code)
