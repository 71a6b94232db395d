"""Compiling the C++ kernels and keeping them: whatever the compiler is called, and whatever became of the cache."""

import os
import tempfile
from pathlib import Path

import pytest

from kernels.cpu.build import BuildError, library
from kernels.cpu.instruction_set import instruction_set

try:
    COMPILED = library()._name
except BuildError as error:
    pytest.skip(str(error), allow_module_level=True)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and another for what does not go into it."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    return tmp_path / "cache" / "deps-kernels"


@pytest.fixture
def compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stands in for g++: notes its arguments, and gives what was compiled before; the path has a blank in it."""
    program = tmp_path / "my tools" / "compiler"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\necho "$@" >> "$0.calls"\nfor last; do :; done\nexec head -c -32 {COMPILED} > "$last"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("CXX", str(program))
    return program


def calls(compiler: Path) -> list[str]:
    return Path(f"{compiler}.calls").read_text().splitlines()


def built() -> Path:
    return Path(library.__wrapped__()._name)


def test_what_is_compiled_once_is_loaded_from_the_cache_and_is_the_users_alone(folder, compiler) -> None:
    for _ in range(2):
        assert built().parent == folder
    assert len(calls(compiler)) == 1
    (file,) = folder.iterdir()
    assert file.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("launcher", ["", "env ", "env -u HOME "])
def test_the_compiler_may_have_a_launcher_and_options(monkeypatch, compiler, launcher: str) -> None:
    monkeypatch.setenv("CXX", f"{launcher}'{compiler}' --option 'of two words'")
    built()
    assert calls(compiler)[0].startswith("--option of two words -std=c++17 -O3 -fno-math-errno")


@pytest.mark.parametrize(
    ("named", "line"),
    [
        ("nothere g++", "CXX=nothere g++: there is no command nothere; unset CXX to have g++ or clang++ taken"),
        ("g++ 'x", "CXX=g++ 'x: is no command: No closing quotation"),
        ("sh -c 'echo the error is this >&2; exit 3'", "sh -c 'echo the error is this >&2; exit 3' failed: the error"),
    ],
)
def test_a_compiler_that_is_none_is_told_in_one_line(monkeypatch, folder, named: str, line: str) -> None:
    monkeypatch.setenv("CXX", named)
    with pytest.raises(BuildError) as told:
        library.__wrapped__()
    assert str(told.value).startswith(line)
    assert not folder.exists() or list(folder.iterdir()) == []


@pytest.mark.parametrize("mode", [0o777, 0o775])
def test_what_others_can_have_written_is_not_loaded_but_compiled_anew(compiler, caplog, mode: int) -> None:
    path = built()
    path.unlink()  # this process has it mapped
    path.write_bytes(b"somebody else's")
    path.chmod(mode)
    assert built() == path
    assert len(calls(compiler)) == 2
    assert path.stat().st_mode & 0o777 == 0o700
    assert caplog.messages == [
        f"kernels: {path}: is no file that this user alone can have written; it is not loaded, but compiled anew"
    ]


@pytest.mark.parametrize("damage", ["cut", "emptied", "one bit"])
def test_what_is_damaged_is_not_loaded_but_compiled_anew(compiler, caplog, damage: str) -> None:
    """The system's loader ends the process by a signal where a library was cut."""
    path = built()
    content = bytearray(path.read_bytes())
    if damage == "one bit":
        content[len(content) // 2] ^= 4
    path.unlink()  # this process has it mapped
    path.write_bytes(content[: {"cut": 50_000, "emptied": 0}.get(damage)])
    path.chmod(0o700)
    assert built() == path
    assert len(calls(compiler)) == 2
    assert caplog.messages == [f"kernels: {path}: is damaged; it is not loaded, but compiled anew"]


def test_processors_of_two_kinds_that_share_a_home_compile_and_load_each_their_own(folder, compiler) -> None:
    for _ in range(2):
        for features in ({"avx2", "fma"}, {"sse2"}):
            library.__wrapped__(instruction_set("x86_64", features))
    wide, narrow = calls(compiler)
    assert "-mavx2 -mfma" in wide
    assert "-mavx" not in narrow
    assert len(list(folder.iterdir())) == 2


def test_a_cache_that_takes_no_more_is_told_and_another_folder_taken(monkeypatch, tmp_path, folder, caplog) -> None:
    replace = os.replace

    def full(source: Path, target: Path) -> None:
        if target.is_relative_to(folder):
            raise OSError(122, "Disk quota exceeded", str(target))
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    monkeypatch.setenv("CXX", f"sh -c 'for last; do :; done; head -c -32 {COMPILED} > \"$last\"' --")
    assert built().parent.parent == tmp_path / "tmp"
    (line,) = caplog.messages
    assert line.startswith(f"kernels: {folder}: Disk quota exceeded; what is compiled is kept in {tmp_path}/tmp/")


def test_a_compiler_that_is_missing_or_fails_is_one_line(folder, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("CXX", "false")
    with pytest.raises(BuildError, match=r"^false failed: exit code 1$"):
        built()
    monkeypatch.delenv("CXX")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BuildError, match=r"no C\+\+ compiler was found"):
        built()
    assert not list(folder.iterdir())
