"""JSON files of ours hold what was written, or are refused in a few words, whatever is in their place."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.files.json_file import CHECKSUM, DamagedError, parse_json, read_json, write_json

CONTENT = {"name": "DεpS", "steps": 1000, "rate": 0.1, "phases": [{"start": 0, "end": None}], "whole": True}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.json"


def refusal(path: Path) -> str:
    with pytest.raises(DamagedError) as refused:
        read_json(path)
    message = str(refused.value)
    assert len(message) <= 200
    assert message.isprintable()
    return message


def test_what_was_written_is_read_and_people_can_read_it_too(path: Path) -> None:
    write_json(path, CONTENT)
    assert read_json(path) == CONTENT
    assert '\n "name": "DεpS",\n' in path.read_text()
    assert len(path.read_text().splitlines()) > len(CONTENT)


def test_a_person_may_lay_it_out_anew_and_order_it(path: Path) -> None:
    write_json(path, CONTENT)
    content = json.loads(path.read_text())
    path.write_text(json.dumps(dict(reversed(content.items()))))
    assert read_json(path) == CONTENT


@pytest.mark.parametrize("content", [{"steps": 3}, [{"top1": 3.5}], 5])
def test_a_file_of_before_has_no_checksum_and_is_read(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content))
    assert read_json(path) == content


def test_any_bit_that_is_flipped_changes_nothing_or_is_told(path: Path) -> None:
    write_json(path, CONTENT)
    written, told = path.read_bytes(), 0
    for at in range(0, 8 * len(written), 3):  # each bit of a byte has its turn
        flipped = bytearray(written)
        flipped[at // 8] ^= 1 << at % 8
        path.write_bytes(flipped)
        try:
            assert read_json(path) == CONTENT
        except DamagedError:
            told += 1
    assert told > 0.99 * 8 * len(written) / 3


def test_any_cut_is_told(path: Path) -> None:
    write_json(path, CONTENT)
    written = path.read_bytes()
    for length in range(len(written) - len("}\n") + 1):
        path.write_bytes(written[:length])
        refusal(path)


def test_what_was_changed_on_purpose_is_told_and_taken_without_its_checksum(path: Path) -> None:
    write_json(path, CONTENT)
    changed = {**json.loads(path.read_text()), "steps": 2000}
    path.write_text(json.dumps(changed))
    assert "whoever changed it on purpose takes that line out" in refusal(path)
    del changed[CHECKSUM]
    path.write_text(json.dumps(changed))
    assert read_json(path)["steps"] == 2000


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not JSON (Expecting value, line 1, column 1)"),
        (bytes(100), "not JSON"),
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', "the key 'c' comes 2 times"),
        (b'{"a": NaN}', "NaN is no finite number"),
        (b"[-Infinity]", "-Infinity is no finite number"),
        (b"[1e999]", "'1e999' is no finite number"),
        (b"9" * 5000, "a number of 5000 digits"),
        (b"[-1" + b"0" * 18 + b"]", "a number of 19 digits"),
        (b"[" * 100 + b"]" * 100, "nested more than 32 deep"),
        (b"[" * 1_000_000, "nested more than 32 deep"),
        (b'{"a":' * 100_000, "nested more than 32 deep"),
        (b'{"\xff": 1}', "not UTF-8 text (byte 2)"),
        (b'"\\ud800"', r"text that is not Unicode: '\ud800'"),
        (b'{"' + b"\\u001b[31m" * 5000 + b'": 1, "' + b"\\u001b[31m" * 5000 + b'": 1}', r"the key '\x1b[31m"),
    ],
    ids=range(14),
)
def test_what_is_no_strict_json_is_refused_at_once(path: Path, content: bytes, says: str) -> None:
    path.write_bytes(content)
    assert says in refusal(path)


def test_a_file_of_any_size_is_not_taken_in(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(OSError, match="has more than 16777216 bytes"):
        read_json(path)


def test_what_could_not_be_read_again_is_not_written(path: Path) -> None:
    write_json(path, CONTENT)
    for value in (float("nan"), 10**30, "\ud800"):
        with pytest.raises(DamagedError):
            write_json(path, {"value": value})
    assert read_json(path) == CONTENT


def test_text_of_all_languages_is_text() -> None:
    assert parse_json('"ε"') == parse_json('"\\u03b5"') == "ε"
