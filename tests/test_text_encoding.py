"""Files are UTF-8 wherever they are written: no text is read or written in the encoding of somebody's locale."""

import ast
from collections.abc import Iterator

import pytest

from tests.support.command_line import REPOSITORY

PACKAGES = ("pipeline", "kernels", "data_shards", "cluster")


def calls_in_the_locales_encoding(source: str) -> Iterator[int]:
    """The lines of `source` that read or write text and do not say in which encoding."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        function = ast.unparse(node.func)
        name, given = function.rpartition(".")[2], {keyword.arg for keyword in node.keywords}
        binary = any(isinstance(each, ast.Constant) and "b" in str(each.value) for each in node.args)
        opens = name == "open" and not binary and function not in ("os.open", "Image.open", "tarfile.open")
        if (opens or name in ("read_text", "write_text") or "text" in given) and "encoding" not in given:
            yield node.lineno


@pytest.mark.parametrize("package", PACKAGES)
def test_all_text_has_its_encoding_named(package: str) -> None:
    found = [
        f"{path.relative_to(REPOSITORY)}:{line}"
        for path in sorted((REPOSITORY / package).rglob("*.py"))
        for line in calls_in_the_locales_encoding(path.read_text(encoding="utf-8"))
    ]
    assert not found


def test_what_does_not_name_it_is_found() -> None:
    lines = ["path.read_text()", "path.open('w')", "open(path)", "open(path, 'w')", "run(x, text=True)"]
    assert list(calls_in_the_locales_encoding("\n".join(lines))) == [1, 2, 3, 4, 5]
    lines = ["path.open('rb')", "open(x, 'wb')", "path.read_text(encoding='utf-8')", "os.open(x, 0)"]
    assert not list(calls_in_the_locales_encoding("\n".join(lines)))
