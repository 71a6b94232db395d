"""YAML is read without losing anything; what is not read is refused at once, in one short line."""

import os
import re
from pathlib import Path

import pytest

from data_shards.strict_yaml import NotYaml, parse_yaml, read_yaml


def billion_laughs(levels: int) -> str:
    lines = ["a0: &a0 [ha, ha, ha, ha, ha, ha, ha, ha, ha]"]
    lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]" for level in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a: 1\nb: 2\na: 3", "lines 1 and 3: have the same key 'a'"),
        ("x:\n  y: {a: 1,\n    a: 2}", "lines 2 and 3: have the same key 'a'"),
        ("- 1: x\n  0x1: y", "lines 1 and 2: have the same key '0x1'"),
        ("a: &a {x: 1}\nb:\n  <<: *a", r"line 3: merge keys \(<<\) are not read: write the keys out"),
        ("? [a]\n: 1", "line 1: a list or mapping is no key"),
        ("a: !!int abc", "line 1: 'abc' is no value of !!int"),
        ("a: !!int ''", "line 1: '' is no value of !!int"),
        ("a: !!float x", "line 1: 'x' is no value of !!float"),
        ("a: !!bool maybe", "line 1: 'maybe' is no value of !!bool"),
        ("\na: 2026-99-01", "line 2: '2026-99-01' is no value of !!timestamp"),
        ("a: !!timestamp soon", "line 1: 'soon' is no value of !!timestamp"),
        ("a: !!binary x", "line 1: has the tag 'binary', which is not read"),
        ("a: !!set {b}", "line 1: has the tag 'set', which is not read"),
        ("a: !!python/object:os.system {}", "line 1: has the tag 'python/object:os.system', which is not read"),
        ("!!map x", "is not YAML: line 1: expected a mapping node, but found scalar"),
        ("!!int [1]", "is not YAML: line 1: expected a scalar node, but found sequence"),
        ("a: " + "1" * 5000, "line 1: has a number of more than 100 characters"),
        ("a: !!float " + "1" * 5000, "line 1: has a number of more than 100 characters"),
        ("[" * 600 + "]" * 600, "line 1: is nested more than 50 deep"),
        ("{a: " * 600, "line 1: is nested more than 50 deep"),
        ("- " * 600, "line 1: is nested more than 50 deep"),
        (billion_laughs(12), "line 5: so far, with aliases .* it is too large"),
        ("a: &a " + "x" * 100_000 + "\nb: [" + "*a, " * 20 + "]", "line 2: so far, with aliases .* it is too large"),
        ("[" + "1," * 100_000 + "]", "line 1: .* it is too large"),
        ("a: &a [*a]", r"line 1: \*a stands inside of itself"),
        ("a: *b", "is not YAML: line 1: found undefined alias 'b'"),
        ("x" * 300_000, "is longer than 256 KiB"),
        ("a: [1", "is not YAML: line 1: expected ',' or ']', but got '<stream end>'"),
        ("a: 1\nb: \x1b[31m", "is not YAML: line 2: has the character #x001b"),
        ("a: \udcff", "is not YAML: line 1: has the character #xdcff"),
        ('a:\n  - "b\\0c"', "line 2: has the character #x0000"),
        ('"\\ud800": 1', "line 1: has the character #xd800"),
        ("a\n---\nb", "is not YAML: line 2: expected a single document in the stream, but found another document"),
    ],
    ids=lambda text: re.sub(r"\s", " ", text[:12]).encode("ascii", "backslashreplace").decode(),
)
def test_what_is_not_read_is_told_in_one_short_line(text: str, complaint: str) -> None:
    with pytest.raises(NotYaml, match=f"^{complaint}$") as told:
        parse_yaml(text)
    assert len(str(told.value)) < 150


def test_what_recipes_hold_is_read() -> None:
    text = "a: &a [1, 2.5, 3e1]\nb: {c: *a, d: [*a, off], 'e': null}\nf: 2026-11-01\ng: '07'\n? h\n: !!str 5"
    found = parse_yaml(text)
    assert (found["a"], found["b"]["c"], found["b"]["d"][1]) == ([1, 2.5, "3e1"], [1, 2.5, "3e1"], False)
    assert (found["g"], found["h"]) == ("07", "5")


def test_a_file_that_cannot_be_read_is_told_without_reading_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "latin").write_bytes(b"name: caf\xe9")
    with open(tmp_path / "large", "wb") as file:
        file.truncate(1 << 40)
    for name in ("pipe", "", "nowhere"):
        with pytest.raises(OSError):
            read_yaml(tmp_path / name)
    with pytest.raises(NotYaml, match=r"is not a text file \(no UTF-8 at byte 9\)"):
        read_yaml(tmp_path / "latin")
    with pytest.raises(NotYaml, match="is larger than 256 KiB"):
        read_yaml(tmp_path / "large")
