"""What people are told is one line of printable characters, and not too long."""

import pytest

from data_shards.one_line import MOST, one_line, shown


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("two\nlines", "two lines"),
        ("not a gzip file\n  bad checksum\r\n\tinvalid\u2028end", "not a gzip file bad checksum invalid end"),
        ("red \x1b[31mruns\x1b[0m", r"red \x1b[31mruns\x1b[0m"),
        ("a bell \x07, C1 \x9b2J, delete \x7f", r"a bell \x07, C1 \x9b2J, delete \x7f"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("a Latin-1 \udce9", r"a Latin-1 \udce9"),
        ("DεpS  × naïve 数据", "DεpS  × naïve 数据"),
    ],
)
def test_a_message_is_one_line_that_can_be_read(text: str, line: str) -> None:
    assert one_line(text) == line


@pytest.mark.parametrize(
    "text", ["9" * 4000, "key: is wrong, not " + "many words " * 100_000, "\x1b" * 4000, "/x" * 2000 + ": is wrong"]
)
def test_no_message_is_longer_than_can_be_taken_in(text: str) -> None:
    assert len(one_line(text)) <= MOST


def test_the_file_the_key_and_the_legal_values_stay() -> None:
    path = "/data/" + "deep/" * 800 + "config.yaml"
    line = one_line(f"recipe {path}: schedule.mode: is none of linear, cosine")
    assert line.startswith("recipe /data/deep/")
    assert line.endswith("/deep/config.yaml: schedule.mode: is none of linear, cosine")


@pytest.mark.parametrize("value", ["x" * 1_000_000, 10**99, list(range(10_000)), {"key" * 1000: "value" * 1000}])
def test_a_value_is_shown_by_both_its_ends(value: object) -> None:
    text = shown(value)
    assert (len(text) <= 120, text[:2], text[-1]) == (True, repr(value)[:2], repr(value)[-1])


def test_a_value_that_holds_itself_a_thousand_times_is_shown() -> None:
    value: list[object] = []
    for _ in range(5000):
        value = [value]
    assert len(shown(value)) < 120
