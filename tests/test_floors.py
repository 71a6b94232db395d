"""The house: which rooms there are, on which floor, and that every import goes down.

A room is a package, or a file that lies beside the packages. A file of a package may have a floor of its own, under its
dotted name, where rooms below its package need it. Within a room, files may import each other in any order that is no
circle.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# From the ground up: a room imports rooms of the lines above its own.
FLOORS = {
    "data_shards": """
        errors may_change one_line randomness
        command_line store sampler
        augmentation strict_yaml sources
        config decoding packing
        streaming
        open_data loading
        looking
        cli
    """,
    "kernels": """
        cache_folder operations recorded reference
        primitives
        fused cpu gpu
        dispatch losses
        bench
    """,
    "pipeline": """
        errors
        by_name duration extras files run.layout
        supernet processes
        engines predictor published tracking
        latency methods
        console checkpoints evaluation search
        recipe
        run training
        experiment reports
        deploy forecast
        comparison
        bench commands
        train cli
    """,
}
# The packages themselves, from the ground up.
PACKAGES = ("kernels", "data_shards", "pipeline", "cluster")


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def modules() -> dict[str, Path]:
    paths = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    return {module_of(path): path for path in paths}


MODULES = modules()


def imports(path: Path) -> Iterator[str]:
    """The modules of ours that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in MODULES else node.module or "" for name in inner]
        else:
            continue
        yield from (name for name in names if name in MODULES)


def room_of(module: str) -> str:
    """`store` of `data_shards.store.index`, `run.layout` of itself; a package's own file is its ground, ""."""
    package, _, name = module.partition(".")
    return name if name in floors(package) else name.split(".")[0]


@cache
def floors(package: str) -> dict[str, int]:
    lines = FLOORS[package].strip().splitlines()
    return {room: floor for floor, line in enumerate(lines) for room in line.split()} | {"": -1}


def wrong_ways(package: str) -> list[str]:
    """Imports of a package that go up, or to another room on the same floor."""
    floor = floors(package)
    found = []
    for module, path in MODULES.items():
        if module.split(".")[0] != package:
            continue
        for other in imports(path):
            here, there = room_of(module), room_of(other)
            if other.split(".")[0] == package and here != there and floor[there] >= floor[here]:
                found.append(f"{module} imports {other}")
    return found


@pytest.mark.parametrize("package", FLOORS)
def test_every_room_has_its_floor(package: str) -> None:
    rooms = {room_of(module) for module in MODULES if module.split(".")[0] == package}
    assert rooms == set(floors(package))


@pytest.mark.parametrize("package", FLOORS)
def test_imports_between_rooms_go_down(package: str) -> None:
    assert wrong_ways(package) == []


def test_packages_import_only_packages_below() -> None:
    for module, path in MODULES.items():
        package = module.split(".")[0]
        allowed = set(PACKAGES[: PACKAGES.index(package) + 1])
        if package == "data_shards":
            allowed.discard("kernels")
        assert {other.split(".")[0] for other in imports(path)} <= allowed, module


def test_no_files_import_each_other_in_a_circle() -> None:
    graph = {module: set(imports(path)) - {module} for module, path in MODULES.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle: {' -> '.join(error.args[1])}")


def test_the_readme_shows_every_room_on_its_floor() -> None:
    text = (ROOT / "pipeline" / "README.md").read_text(encoding="utf-8")
    shown, floor = {}, 0
    for number, room in re.findall(r"^\| (\d*) ?\| `([\w.]+)/?` \|", text, re.MULTILINE):
        floor = int(number or floor)
        shown[room] = floor - 1
    assert shown | {"": -1} == floors("pipeline")
