"""Whatever the input: one line on the error stream, no longer than can be taken in, and nothing that moves a cursor."""

import json
import logging

import pytest

from data_shards.errors import ReaderLost, ShardDamage, ShardUsageError
from pipeline.console.exit_codes import one_line_errors
from pipeline.console.tables import print_json, print_table
from pipeline.errors import RunFailure, UsageError
from tests.support.command_line import deps, refused

RECIPE = "recipes/digits.yaml"
NASTY = "a\nb\x1b[2J\u202e\udce9\x9b"


def told(line: str) -> None:
    """Make sure that `line` is one, and can be read."""
    assert len(line) <= 300
    assert line.isprintable()


@pytest.mark.parametrize(
    ("arguments", "told_of"),
    [
        (("train", NASTY), r"recipe a b\x1b[2J"),
        (("train", "/deep" * 2000 + "/recipe.yaml"), "recipe.yaml: File name too long"),
        (("train", RECIPE, f"{NASTY}=1"), r"override 'a\nb\x1b[2J\u202e\udce9\x9b': is no key of a recipe"),
        (("train", RECIPE, "x" * 100_000 + "=1"), "unknown key; legal keys: approach"),
        (("train", RECIPE, "a." * 10_000 + "b=1"), "is no key of a recipe"),
        (("train", RECIPE, "engine.deepspeed." + "a." * 15 + "b=1"), "engine"),
        (("train", RECIPE, NASTY), "must be key=value"),
        (("train", RECIPE, "seed=" + "x" * 100_000), "seed: input should be a valid integer"),
        (("train", RECIPE, "seed=[" + "many, " * 1000 + "]"), "seed: input should be a valid integer"),
        (("train", RECIPE, "data=[" + "many, " * 1000 + "]"), "data: must be a mapping with keys out of"),
        (("train", RECIPE, "data.stream_from=" + "x" * 100_000), "data.stream_from: "),
        (("train", RECIPE, "name=" + "x" * 5000, "data.shards=nowhere"), "no shards at nowhere"),
        (("train", RECIPE, "data.shards=" + "x" * 5000), "File name too long"),
        (("describe", NASTY), "is no network and no recipe file"),
        (("describe", "x" * 100_000), "is no network and no recipe file; networks: mobilenet_v3"),
        (("describe", "mobilenet_v3", "--subnet", "x" * 100_000), "is no subnet; one looks like"),
        (("evaluate", NASTY), r"a b\x1b[2J\u202e\udce9\x9b: is no run folder"),
        (("report", NASTY), r"a b\x1b[2J\u202e\udce9\x9b"),
        (("shards", "verify", NASTY), r"a b\x1b[2J"),
        (("shards", "pack", NASTY), "is no data set that can be packed; these can"),
        (("shards", "pack", "folder", NASTY, "out"), r"a b\x1b[2J"),
        (("status", NASTY), r"a b\x1b[2J\u202e\udce9\x9b: is no run folder"),
        (("plan", RECIPE, "--gpu", NASTY), "is none of v100, a100"),
        (("submit", NASTY, "--nodes=1", "--gpus-per-node=0"), r"recipe a b\x1b[2J"),
        ((NASTY,), "No such command"),
        (("train", f"--{NASTY}"), "No such option"),
        (("bench", "step", "--device", NASTY), "device"),
    ],
    ids=lambda given: " ".join(map(str, given))[:20].encode("ascii", "replace").decode() if len(given) < 6 else "",
)
def test_input_of_any_kind_gets_one_line(arguments: tuple[str, ...], told_of: str) -> None:
    done = deps(*arguments)
    line = refused(done, done.returncode)
    assert done.returncode in (1, 2)
    told(line)
    assert told_of in line


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError(NASTY), 2),
        (ShardUsageError("x" * 1000), 2),
        (RunFailure("not a gzip file\nbad checksum\ninvalid header"), 1),
        (ShardDamage(NASTY, NASTY, key=NASTY), 1),
        (ReaderLost("x " * 1000), 1),
        (OSError(2, "No such file or directory", NASTY), 1),
        (OSError("what a library\nsays"), 1),
        (UnicodeEncodeError("ascii", "données", 4, 5, "ordinal not in range(128)"), 2),
    ],
    ids=lambda given: type(given).__name__,
)
def test_so_does_every_known_failure(error: Exception, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended, one_line_errors("deps"):
        raise error
    (line,) = capsys.readouterr().err.splitlines()
    assert ended.value.code == code
    told(line)


def test_so_does_a_warning(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    with one_line_errors("deps"):
        logging.getLogger("pipeline").warning("%s is damaged:\n%s", NASTY, "x" * 1000)
    (line,) = capsys.readouterr().err.splitlines()
    told(line)
    assert line.startswith(r"a b\x1b[2J\u202e\udce9\x9b is damaged: xxx")


@pytest.mark.parametrize("name", [NASTY, "[bold]run[/bold]", "[/x]"])
def test_names_in_tables_are_names(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    print_table(name, [{"run": name}], {"run": ("run", "")})
    lines = capsys.readouterr().out.splitlines()
    assert all(line.isprintable() for line in lines)
    if name is not NASTY:
        assert sum(name in line for line in lines) == 2


def test_json_says_all_and_moves_no_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    content = {"approach": "DεpS", NASTY: ["\x7f\u2028 𝔘 \U000e0001"]}
    print_json(content)
    output = capsys.readouterr().out
    assert "DεpS" in output
    assert all(line.isprintable() for line in output.split("\n"))
    assert json.loads(output) == content
