"""Recipes and overrides by lot: text that is damaged, and values that nobody means."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from pipeline.console.exit_codes import one_line_errors
from pipeline.recipe.reading import load_recipe
from pipeline.recipe.recipe import resolved
from tests.faults.fuzz.case import Case, command
from tests.support.command_line import REPOSITORY
from tests.support.damage import KINDS
from tests.support.forked import Ended, forked

RECIPES = sorted((REPOSITORY / "recipes").glob("*.yaml"))
NOWHERE = "data.shards=nowhere"  # where a recipe that is taken ends: everything but the data has been checked

VALUES = [
    "!!int abc", "!!float x", "!!bool maybe", "!!binary '***'", "!!timestamp 2024-99-99", "2024-99-99",
    "9" * 5000, "-" + "9" * 400, "1e400", "0x" + "f" * 300, "1_0", "0o17", "1:30", "٣", ".nan", "-.inf", "-1", "0",
    "''", "~", "yes", "off", "[" * 600 + "]" * 600, "{a: " * 300 + "1" + "}" * 300, "&a [*a]", "*nobody",
    "{a: 1, a: 2}", "{<<: {a: 1}}", "{? [a, b] : 1}", "!!python/object/apply:os.system ['touch touched']",
    "!!set {a, b}", "!mine x", "'not ended", '"\\e[31m\\a\\0"', '"\\u202e\\ud800"', "'\u202e'", "@x", "`x`", "|",
    "- - 1", "x" * 1_000_000, "50%", "5 epochs", "1e9 epochs", "-3 steps", "0.0001 steps", "nan steps", "../..", "/",
    "pipe:x", "<script>", "$x_", "\ufeffx",
]  # fmt: skip
WAYS = ["bytes", "value", "value", "twice", "without", "swapped", "indented", "key", "laughs", "document"]
LAUGHS = "\n".join(["a0: &a0 [x, x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12))]) + "\n"


def cases(lot: random.Random, folder: Path) -> Iterator[Case]:
    """Recipes of the project, changed."""
    path = folder / "recipe.yaml"
    while True:
        source = lot.choice(RECIPES)
        how, content = _changed(source.read_bytes(), lot)
        path.write_bytes(content)
        yield Case(f"{source.name}, {how}", command("train", path, NOWHERE), _never, refusable=True)
        taken = _resolved(path, folder)
        if taken is not None:  # then all that stands in it counts
            yield Case(f"{source.name}, {how}: resolved", lambda: None, _means(content, taken))


def override_cases(lot: random.Random, folder: Path) -> Iterator[Case]:
    """Overrides of keys that exist and of some that do not."""
    recipe = REPOSITORY / "recipes" / "digits.yaml"
    keys = [
        *_leaves(resolved(load_recipe(recipe))),
        "engine",
        "data",
        "schedule.learning_rate",
        "",
        ".",
        "name.",
    ]
    while True:
        key, value = lot.choice(keys), lot.choice(VALUES)[:100_000]  # a process takes no longer argument
        if lot.random() < 0.3:
            value = _changed(value.encode(), lot)[1].decode(errors="surrogateescape").replace("\0", "")
        override = f"{key}={value}" if lot.random() < 0.95 else value
        told = f"override {override[:120]!r}"
        arguments = ["train", recipe, override] if key == "data.shards" else ["train", recipe, NOWHERE, override]
        yield Case(told, command(*arguments), _never)


def _changed(content: bytes, lot: random.Random) -> tuple[str, bytes]:
    lines = content.decode(errors="surrogateescape").split("\n")
    at = lot.randrange(len(lines))
    how = lot.choice(WAYS)
    if how == "bytes" and len(content) > 300:
        kind = lot.choice(KINDS)
        return kind.__name__, kind(content, lot)
    if how == "twice":
        lines.insert(lot.randrange(len(lines)), lines[at])
    elif how == "without":
        del lines[at]
    elif how == "swapped":
        other = lot.randrange(len(lines))
        lines[at], lines[other] = lines[other], lines[at]
    elif how == "indented":
        lines[at] = lot.choice([" ", "  ", "\t"]) + lines[at]
    elif how == "key":
        lines.insert(at, f"{lot.choice(VALUES)[:5000]}: {lot.choice(VALUES)}")
    elif how == "laughs":
        lines.append(LAUGHS)
    elif how == "document":
        lines.insert(at, lot.choice(["---", "...", "%YAML 3.0", "--- !!map"]))
    else:
        lines[at] = f"{lines[at].partition(':')[0]}: {lot.choice(VALUES)}"
    return f"{how} in line {at + 1}", "\n".join(lines).encode(errors="surrogateescape")


def _never(_: Ended) -> bool:
    return False  # without data, a training cannot end well


def _resolved(path: Path, folder: Path) -> dict[str, Any] | None:
    def work() -> None:
        with one_line_errors("deps"):
            print(json.dumps(resolved(load_recipe(path))))

    ended = forked(work, folder)
    return json.loads(ended.stdout) if ended.code == 0 else None


def _means(content: bytes, taken: dict[str, Any]):
    """Whether each key of the text stands once in it, and has its value in the recipe that was taken."""

    def right(_: Ended) -> bool:
        text = content.decode()
        stated = _leaves(yaml.safe_load(text))
        return not _twice(yaml.compose(text)) and all(_same(value, _at(taken, key)) for key, value in stated.items())

    return right


def _twice(node: yaml.Node | None) -> bool:
    if isinstance(node, yaml.MappingNode):
        keys = [key.value for key, _ in node.value]
        return len(set(map(str, keys))) < len(keys) or any(_twice(value) for _, value in node.value)
    return isinstance(node, yaml.SequenceNode) and any(map(_twice, node.value))


def _leaves(tree: Any, prefix: str = "") -> dict[str, Any]:
    found = {}
    for key, value in tree.items():
        path = f"{prefix}{key}"
        found |= _leaves(value, f"{path}.") if isinstance(value, dict) and value else {path: value}
    return found


def _at(tree: Any, key: str) -> Any:
    for part in key.split("."):
        if not isinstance(tree, dict) or part not in tree:
            return tree if isinstance(tree, dict) else None
        tree = tree[part]
    return tree


def _same(stated: Any, taken: Any) -> bool:
    if isinstance(stated, list) and isinstance(taken, list):
        return len(stated) == len(taken) and all(map(_same, stated, taken))
    if isinstance(stated, dict) and isinstance(taken, dict):  # in a list; what it does not state takes its default
        return all(_same(value, taken.get(key)) for key, value in stated.items())
    if stated is False and taken == "off":
        return True
    if stated is None or stated == {}:  # "take the default"
        return True
    try:
        return float(stated) == float(taken)
    except (TypeError, ValueError):
        return str(stated) == str(taken)
