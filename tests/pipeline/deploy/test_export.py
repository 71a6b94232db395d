"""`deps export`: from a run, or an imported supernet, to files with a card; or to one line, and nothing written."""

import hashlib
import json
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from markdown_it import MarkdownIt

from data_shards.loading.loader import EvaluationLoader
from data_shards.open_data import open_data
from pipeline.commands import export
from pipeline.deploy import gate
from pipeline.deploy.gate import Drop
from pipeline.evaluation.evaluate import Evaluator
from pipeline.processes.group import Processes
from pipeline.run.folder import read_recipe
from pipeline.supernet.complexity import complexity
from pipeline.supernet.store import load_supernet, load_weights
from tests.pipeline.published.test_evaluate import imported
from tests.support.command_line import Done, deps, refused
from tests.support.processes import run, small_run

LENGTH = ["schedule.duration=4 steps", "schedule.full_model_warmup=1 steps", "schedule.epsilon_ramp=1 steps"]
KEPT = ["data.validation_samples=100", "space.resolutions=[24]"]
FEW = "evaluation={every: 100 steps, recalibration_samples: 64, batch_size: 64, full_when_shrinking: 0}"
ALL = "onnx,int8,torch"


@pytest.fixture(scope="module")
def trained(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    run(["-m", "pipeline.train", *small_run(digits, runs), "engine.name=single", "name=run", *LENGTH, *KEPT, FEW], 1)
    return runs / "run"


def smallest(folder: Path) -> str:
    return str(load_weights(folder)[0].smallest())


def exported(folder: Path, output: Path, *more: object) -> Done:
    return deps("export", folder, "--subnet", smallest(folder), "--output", output, *more)


@pytest.fixture(scope="module")
def made(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("made") / "deployed"
    done = exported(trained, output, "--format", ALL, "--max-drop", 100, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == content_of(output)
    assert not done.stderr.strip()
    return output


@pytest.fixture
def with_its_onnx(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without tracing and converting again."""
    monkeypatch.setattr(export, "to_program", lambda network, side: None)
    monkeypatch.setattr(export, "to_onnx", lambda program: (made / "subnet.onnx").read_bytes())


def content_of(output: Path) -> dict:
    content = json.loads((output / "card.json").read_text(encoding="utf-8"))
    del content["checksum"]
    return content


def test_the_card_has_the_figures_of_its_files(trained: Path, made: Path) -> None:
    content, supernet, recipe = content_of(made), load_supernet(trained), read_recipe(trained)
    subnet = supernet.space.smallest()
    size = complexity(supernet.space, subnet)
    assert (content["subnet"], content["macs"], content["params"]) == (str(subnet), size.macs, size.parameters)
    assert set(content["files"]) == {"subnet.onnx", "subnet.int8.onnx", "subnet.pt2"}
    for name, digest in content["files"].items():
        file = (made / name).read_bytes()
        assert digest == {"bytes": len(file), "sha256": hashlib.sha256(file).hexdigest()}
    data, here = open_data(recipe.data), Processes(0, 1, torch.device("cpu"))
    evaluator = Evaluator(data.train, data.test, recipe.data, recipe.evaluation, here)
    assert content["test"]["networks"]["torch"]["top1"] == evaluator.subnet(supernet, subnet).top1
    assert content["int8"]["chosen_on"] == "validation"
    assert content["int8"]["choice_images"] == 100
    assert set(content["latency"]["milliseconds"]) == {"onnx", "int8"}


@pytest.mark.parametrize("name", ["onnx", "int8"])
def test_images_that_are_normalised_as_the_card_says_get_its_accuracy(name: str, trained: Path, made: Path) -> None:
    content, recipe = content_of(made), read_recipe(trained)
    given, row = content["input"], content["test"]["networks"][name]
    session = onnxruntime.InferenceSession(made / row["file"], providers=["CPUExecutionProvider"])
    network = torch.export.load(made / "subnet.pt2").module()
    hits = others = images = 0
    for batch in EvaluationLoader(open_data(recipe.data).test, recipe.data, content["resolution"], 50, 0, 1):
        pixels = (batch.images.numpy() / np.float32(255) - np.float32(given["mean"])) / np.float32(given["std"])
        pixels = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
        best = session.run(["logits"], {"images": pixels})[0].argmax(1)
        hits += (best == batch.labels.numpy()).sum()
        with torch.no_grad():
            others += (best != network(torch.from_numpy(pixels)).argmax(1).numpy()).sum()
        images += len(best)
    assert images == content["test"]["images"]
    assert row["top1"] == pytest.approx(100 * hits / images, abs=100.1 / images)  # one image, for rounding
    assert row["others"] == pytest.approx(others, abs=1)


def test_the_card_is_a_page(made: Path) -> None:
    text = (made / "card.md").read_text(encoding="utf-8")
    content = content_of(made)
    assert "<table>" in MarkdownIt().enable("table").render(text)
    for part in (content["subnet"], content["command"], *content["files"], f"{content['macs']:,d}"):
        assert part in text
    for file in content["files"].values():
        assert file["sha256"] in text
    assert f"All {content['int8']['layers']} layers are in INT8" in text
    code = [block.split("```")[0] for block in text.split("```python\n")[1:]]
    assert len(code) == len(content["files"])
    for part in code:
        compile(part, "card.md", "exec")


def test_the_recipe_beside_the_card_is_the_runs(trained: Path, made: Path) -> None:
    done = deps("train", made / "recipe.yaml", f"runs={made.parent}", "name=again", "--dry-run")
    assert done.returncode == 0, done.stderr


@pytest.mark.usefixtures("with_its_onnx")
def test_layers_that_went_back_to_float_are_named(
    trained: Path, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drops = iter([Drop(5, 1), *[Drop(0.5, 0.1)] * 20])  # with all layers in INT8; with ever more of them in INT8
    monkeypatch.setattr(gate, "drop_of", lambda *_: next(drops))
    monkeypatch.setattr(export._Export, "_check_drop", lambda *_: None)
    done = exported(trained, tmp_path / "out", "--format", "int8")
    assert done.returncode == 0, done.stderr
    content = content_of(tmp_path / "out")
    [layer] = content["int8"]["float_layers"]
    assert content["int8"]["damages"][layer] == max(content["int8"]["damages"].values())
    assert 0 < content["int8"]["macs_share"] < 1
    assert f"in float stayed 1 of {content['int8']['layers']} layers, {layer}; loses " in done.stdout
    assert f"`{layer}`" in (tmp_path / "out" / "card.md").read_text(encoding="utf-8")
    assert content["test"]["networks"]["int8_naive"] != content["test"]["networks"]["int8"]
    assert sorted(os.listdir(tmp_path / "out")) == ["card.json", "card.md", "recipe.yaml", "subnet.int8.onnx"]


@pytest.mark.usefixtures("with_its_onnx")
def test_a_gate_that_cannot_hold_writes_nothing(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "drop_of", lambda *_: Drop(40, 1))
    line = refused(exported(trained, tmp_path / "out", "--format", "onnx,int8"), code=1)
    assert "layers in float it still loses 40.00 ± 1.00 points of top-1 on 100 validation images" in line
    assert "more than --max-drop 1; nothing is written" in line
    assert not os.listdir(tmp_path)


@pytest.mark.usefixtures("with_its_onnx")
def test_what_loses_too_much_on_the_test_split_is_not_written(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure = export.measure

    def worse(*arguments):
        found = measure(*arguments)
        accuracy = found["onnx"].accuracy
        found["int8_naive"] = replace(found["int8_naive"], accuracy=replace(accuracy, top1=accuracy.top1 - 2))
        return found

    monkeypatch.setattr(gate, "drop_of", lambda *_: Drop(0, 0))
    monkeypatch.setattr(export, "measure", worse)
    line = refused(exported(trained, tmp_path / "out", "--format", "int8"), code=1)
    assert "loses 2.00 points of top-1 on the test split" in line
    assert "though 0.00 ± 0.00 on the images that its layers were chosen by; nothing is written" in line
    assert not os.listdir(tmp_path)


def test_a_file_that_computes_something_else_is_not_written(
    trained: Path, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "to_program", lambda network, side: None)
    monkeypatch.setattr(export, "to_onnx", lambda program: (made / "subnet.int8.onnx").read_bytes())
    assert "subnet.onnx: its logits differ" in refused(exported(trained, tmp_path / "out"), code=1)
    assert not os.listdir(tmp_path)


@pytest.mark.usefixtures("with_its_onnx")
def test_an_export_that_is_stopped_leaves_nothing(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = tmp_path / ".out.writing"  # of one that was killed
    left.mkdir()
    (left / "subnet.onnx").write_bytes(b"half")

    def stopped(path: Path, content: object) -> None:
        assert (left / "subnet.onnx").read_bytes() != b"half"
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(export, "write_json", stopped)
        assert exported(trained, tmp_path / "out").returncode == 130
    assert not os.listdir(tmp_path)
    assert exported(trained, tmp_path / "out").returncode == 0
    assert os.listdir(tmp_path) == ["out"]


def test_an_imported_supernet_is_exported_with_a_data_set(digits: Path, tmp_path: Path) -> None:
    folder = imported(tmp_path, "mobilenet_v3_digits")
    done = exported(folder, tmp_path / "out", "--data", digits, "--format", "int8", "--max-drop", 100)
    assert done.returncode == 0, done.stderr
    assert "MIT licence" in done.stdout
    content = content_of(tmp_path / "out")
    assert content["int8"]["chosen_on"] == "training"
    assert content["training"] is None
    assert f"--data {digits}" in content["command"]
    text = (tmp_path / "out" / "card.md").read_text(encoding="utf-8")
    assert "layers were chosen on training images" in text
    assert "MIT licence" in text


def test_what_cannot_be_exported_is_one_line(
    trained: Path, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    line = refused(exported(trained, out, "--format", "onnx,tflite"))
    assert "--format 'tflite': legal values, with commas between them: onnx, int8, torch" in line
    assert "exists already" in refused(exported(trained, made))
    assert "is no subnet" in refused(deps("export", trained, "--subnet", "large", "--output", out))
    assert "depth" in refused(deps("export", trained, "--subnet", "d9-k3-e4-r24", "--output", out))
    assert "is no run folder" in refused(deps("export", tmp_path, "--subnet", "d1-k3-e4-r24", "--output", out))
    assert "--max-drop" in refused(exported(trained, out, "--max-drop", -1))
    (tmp_path / "file").write_text("")
    assert "cannot be written" in refused(exported(trained, tmp_path / "file" / "out"))
    gone = shutil.copytree(trained, tmp_path / "gone")
    lines = (gone / "config.yaml").read_text().splitlines()[1:]  # without its seal
    shards = read_recipe(trained).data.shards
    (gone / "config.yaml").write_text("\n".join(lines).replace(str(shards), str(tmp_path / "nowhere")))
    assert str(tmp_path / "nowhere") in refused(exported(gone, out))
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    line = refused(exported(trained, out))
    assert "deps export needs onnxscript: pip install 'delayed-epsilon-shrinking[deploy]'" in line
    assert not out.exists()
