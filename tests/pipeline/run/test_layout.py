"""The names of a run folder's files are said in one place."""

import ast
from pathlib import Path

from pipeline.run import layout

ROOT = Path(__file__).parents[3]
LAYOUT = ROOT / "pipeline" / "run" / "layout.py"
NAMES = {value for name, value in vars(layout).items() if name.isupper()}


def texts(path: Path) -> list[str]:
    """All texts of a program but docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    strings = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str))
    return [str(node.value) for node in strings if id(node) not in prose]


def test_no_name_comes_twice() -> None:
    assert len(NAMES) == sum(name.isupper() for name in vars(layout)) == len(set(texts(LAYOUT)))


def test_a_files_name_is_written_in_the_layout_alone() -> None:
    files = {name for name in NAMES if "." in name}  # folders have names that are words, too
    for path in sorted((ROOT / "pipeline").rglob("*.py")):
        assert path == LAYOUT or not files & set(texts(path)), path
