"""Who may import whom; and what happens when somebody else's package stands where ours should be."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OURS = ("pipeline", "kernels", "data_shards", "cluster")

# Each is slow to import or may be missing: one file knows it, and imports it when it is needed.
LAZY = {
    "deepspeed": {"pipeline/engines/deepspeed/engine.py"},
    "mlflow": {"pipeline/tracking/mlflow_run.py"},
    # The benchmark's file holds what users of DALI alone would write: a contender, no part of the pipeline.
    "nvidia": {"data_shards/decoding/dali_graphs.py", "pipeline/bench/reading/dali_sequential.py"},
    "webdataset": {"data_shards/streaming/webdataset.py", "pipeline/bench/reading/pil_pipelines.py"},
    "onnx": {"pipeline/deploy/quantise.py", "pipeline/latency/graphs.py"},
    "onnxruntime": {"pipeline/deploy/quantise.py", "pipeline/deploy/runtime.py", "pipeline/latency/runtime.py"},
    "onnxscript": set(),  # torch's exporter imports it
    "huggingface_hub": {"pipeline/supernet/hub.py"},
    "pymoo": {"pipeline/search/evolution.py"},
    "sklearn": {"data_shards/sources/digits.py", "pipeline/predictor/fit.py"},
}


def files(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imports(path: Path, top_level_only: bool = False) -> Iterator[str]:
    tree = ast.parse(path.read_text())
    for node in tree.body if top_level_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield node.module or ""


def top(module: str) -> str:
    return module.split(".")[0]


@pytest.mark.parametrize("package", OURS)
def test_there_are_files_to_look_at(package: str) -> None:
    assert files(package)


@pytest.mark.parametrize("package", ["kernels", "data_shards"])
def test_kernels_and_data_shards_import_nothing_else_of_ours(package: str) -> None:
    for path in files(package):
        assert {top(module) for module in imports(path)} & set(OURS) <= {package}, path


# What a job needs of the pipeline: the recipe, how far a run is, how files are read, and how commands speak.
FOR_CLUSTER = {
    "pipeline.recipe.recipe",
    "pipeline.recipe.reading",
    "pipeline.run.status",
    "pipeline.errors",
    "pipeline.console.quantities",
    "pipeline.console.tables",
    "pipeline.files.json_file",
    "data_shards.command_line",
    "data_shards.one_line",
    "data_shards.store.regular_file",
}


def test_nothing_imports_cluster_and_cluster_imports_recipe_and_status_only() -> None:
    for package in OURS[:-1]:
        for path in files(package):
            assert "cluster" not in {top(module) for module in imports(path)}, path
    for path in files("cluster"):
        others = {module for module in imports(path) if top(module) in OURS[:-1]}
        assert others <= FOR_CLUSTER, path


def test_the_trainer_knows_the_engine_protocol_but_no_engine() -> None:
    for path in files("pipeline/training"):
        engines = {module for module in imports(path) if module.startswith("pipeline.engines")}
        assert engines <= {"pipeline.engines", "pipeline.engines.protocol"}, path


@pytest.mark.parametrize("package", ["training", "forecast", "checkpoints", "run", "evaluation"])
def test_nothing_asks_for_an_engine_by_its_name(package: str) -> None:
    names = {"single", "ddp", "fsdp", "deepspeed"}
    for path in files(f"pipeline/{package}"):
        compared = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Compare)]
        texts = {each.value for node in compared for each in ast.walk(node) if isinstance(each, ast.Constant)}
        assert not names & texts, path


@pytest.mark.parametrize("library", LAZY)
def test_heavy_libraries_are_imported_in_one_place_and_lazily(library: str) -> None:
    for package in OURS:
        for path in files(package):
            name = path.relative_to(ROOT).as_posix()
            used = library in {top(module) for module in imports(path)}
            assert not used or name in LAZY[library], f"{name} imports {library}"
            assert library not in {top(module) for module in imports(path, top_level_only=True)}, name


def test_triton_is_imported_by_its_kernels_alone_and_these_by_who_chooses_alone_and_lazily() -> None:
    in_triton = {*files("kernels/gpu"), ROOT / "kernels/losses/gpu.py"}
    choosers = {
        *(ROOT / "kernels" / name for name in ("dispatch.py", "losses/choice.py", "bench/compiled/launches.py"))
    }
    for package in OURS:
        for path in set(files(package)) - in_triton:
            assert "triton" not in {top(module) for module in imports(path)}, path
            found = set(imports(path, top_level_only=path in choosers))
            assert not any(module.startswith(("kernels.gpu", "kernels.losses.gpu")) for module in found), path
    assert "triton" not in {top(module) for module in imports(ROOT / "kernels" / "gpu" / "__init__.py")}


def test_the_program_that_reader_processes_import_again_is_light() -> None:
    """Else each of them takes as long to start as a training does, at every evaluation."""
    command = [sys.executable, "-c", "import pipeline.train, sys; print(*sys.modules)"]
    loaded = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert "pipeline.train" in loaded
    assert not {"torch", "numpy", "pydantic", "pipeline.experiment"} & set(loaded)


def test_a_recipe_is_read_without_what_only_one_engine_needs() -> None:
    command = [sys.executable, "-c", "import pipeline.recipe.reading, sys; print(*sys.modules)"]
    loaded = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert "pipeline.engines.fsdp.config" in loaded
    ours = {f"pipeline.engines.{name}.engine" for name in ("fsdp", "deepspeed")}
    assert not {"deepspeed", "torch.distributed.fsdp", *ours} & set(loaded)


@pytest.mark.parametrize("package", OURS)
def test_a_foreign_package_of_our_name_is_named_in_one_line(package: str, tmp_path: Path) -> None:
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").write_text("")
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    command = [sys.executable, "-c", "import deps_command; deps_command.main()"]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"deps: the package '{package}' at {tmp_path / package}")
    assert "belongs to another distribution" in done.stderr
    assert len(done.stderr.splitlines()) == 1
