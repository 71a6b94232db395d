"""`deps bench` as people use it: tables, files, JSON, and no figure for what is wrong. Nothing is said about speed."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from kernels.bench.contenders import OfaStyle as OfaStyleOperations
from pipeline.bench import memory, ofa_style, step
from pipeline.bench.contenders import batch, exact, initial_weights, sandwich_plan
from pipeline.bench.memory import peak_on_cpu
from pipeline.bench.ofa_style import OfaStyleStep, OfaStyleSupernet
from pipeline.bench.suite import told
from pipeline.engines.protocol import copy_momentum
from pipeline.supernet.networks import NETWORKS
from tests.support.command_line import deps, refused

CPU = torch.device("cpu")
ENVIRONMENT = {"machine", "device", "cpu_cores", "threads", "load_average", "date", "python", "torch"}


@pytest.fixture
def quick_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a process for each contender; that one has its own test."""
    monkeypatch.setattr(step, "peak_on_cpu", lambda *_: 12_345)


def small_kernels(folder: Path) -> list[object]:
    what = ["--network", "mobilenet_v3_digits", "--operation", "linear"]
    return ["bench", "kernels", *what, "--batch", 2, "--repeats", 1, "--device", "cpu", "--output", folder]


def small_step(folder: Path) -> list[object]:
    where = ["--network", "mobilenet_v3_digits", "--device", "cpu", "--output", folder]
    return ["bench", "step", "--batch", 4, "--repeats", 1, *where]


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_kernels_writes_a_table_a_plot_and_json(tmp_path: Path) -> None:
    done = deps(*small_kernels(tmp_path), "--json")
    assert done.returncode == 0
    found = json.loads(done.stdout)
    assert [row["direction"] for row in found["operations"]] == ["forward", "backward"] * 2
    assert [row["shape"] for row in found["operations"][::2]] == ["160 → 192", "192 → 10"]
    assert all(row["ours_seconds"] > 0 for row in found["operations"])
    assert found["units"]["linear"]
    assert found["copy_bytes_per_second"] > 0
    (table,), (plot,) = tmp_path.glob("*.csv"), tmp_path.glob("*.svg")
    assert {str(table), str(plot)} == set(found["files"])
    assert table.stem == plot.stem == f"kernels_cpu_{found['date'][:10]}"
    figures = {"ours_seconds", "strong_eager_ratio", "ofa_style_ratio", "bytes", "flops", "floor_seconds"}
    about = {"network", "resolution_px", "kernels", "precision"}
    shape = {*about, "operation", "shape", "direction", "batch_size", "status"}
    rows = rows_of(table)
    assert len(rows) == 4
    assert all({*figures, *shape, *ENVIRONMENT} <= row.keys() for row in rows)
    assert all(row[name] for row in rows for name in (*figures, *shape, *ENVIRONMENT))
    assert plot.read_text().startswith("<?xml")
    # The page of `deps bench gpu` tells medians of it by kind.
    (tmp_path / "found.json").write_text(done.stdout)
    about, _, heading, _, *told_rows = told.operations(tmp_path / "found.json")
    assert about.startswith("mobilenet_v3_digits, 32 px, batch 2, float32, kernels cpu; copy ")
    kinds = ["linear, forward", "linear, backward"]
    assert [row.split(" | ")[:3] for row in told_rows] == [[f"| {kind}", "2", "0"] for kind in kinds]
    assert all(row.count("|") == heading.count("|") and "–" not in row for row in told_rows)


def test_kernels_says_what_a_unit_is_and_where_it_was_measured(tmp_path: Path) -> None:
    done = deps(*small_kernels(tmp_path))
    assert done.returncode == 0
    printed = done.stdout
    for part in ("160 → 192", "linear layer with bias", "GB/s", "GFLOP/s", "threads", "torch 2", "Kept: "):
        assert part in printed


def test_a_wrong_operation_has_no_figure_and_exit_code_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = OfaStyleOperations.forward
    monkeypatch.setattr(OfaStyleOperations, "forward", lambda *given: (right(*given)[0] + 0.01,))
    done = deps(*small_kernels(tmp_path))
    assert done.returncode == 1
    assert "FAILED" in done.stdout
    assert len(done.stderr.splitlines()) == 1
    assert "linear 160 → 192: FAILED: OFA style: output is off by" in done.stderr
    (table,) = tmp_path.glob("*.csv")
    for row in rows_of(table):
        assert row["status"].startswith("FAILED: OFA style: output is off by")
        assert not any("seconds" in name and "per_second" not in name for name in row)


@pytest.mark.usefixtures("quick_memory")
def test_step_writes_a_table_a_plot_and_json(tmp_path: Path) -> None:
    done = deps(*small_step(tmp_path), "--json")
    assert done.returncode == 0
    found = json.loads(done.stdout)
    rows = {row["contender"]: row for row in found["contenders"]}
    assert list(rows) == ["ours", "strong eager", "plain networks", "OFA style"]
    assert rows["ours"]["ratio"] == 1
    for row in rows.values():
        assert row["status"] == "ok"
        assert row["ratio"] == pytest.approx(row["seconds_per_step"] / rows["ours"]["seconds_per_step"])
        assert row["images_per_second"] == pytest.approx(4 / row["seconds_per_step"])
        assert row["peak_memory_bytes"] == 12_345
    assert len(found["subnets"]) == 4
    (first,) = found["first_step"]
    assert first["batch_size"] == 4
    assert first["unseen_to_seen_ratio"] > 0
    (table,), (plot,) = tmp_path.glob("*.csv"), tmp_path.glob("*.svg")
    assert table.stem == plot.stem == f"step_cpu_{found['date'][:10]}"
    wanted = {"network", "resolution_px", "batch_size", "contender", "seconds_per_step", "ratio", "peak_memory_bytes"}
    kept = rows_of(table)
    assert len(kept) == 4
    assert all(row[name] for row in kept for name in (*wanted, *ENVIRONMENT))
    assert float(kept[0]["unseen_to_seen_ratio"]) == first["unseen_to_seen_ratio"]
    # The page of `deps bench gpu` tells of each contender.
    (tmp_path / "found.json").write_text(done.stdout)
    about, _, _, _, *told_rows = told.steps(tmp_path / "found.json")
    assert about == "mobilenet_v3_digits, 32 px, batch 4: medians of 1 steps."
    assert [row.split(" | ")[0] for row in told_rows] == [f"| {name}" for name in rows]
    assert told_rows[0].endswith(f"| 1 | {12_345 / 2**30:.3g} |")


@pytest.mark.usefixtures("quick_memory")
def test_a_wrong_step_has_no_figure_and_exit_code_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ofa_style, "_h_swish", torch.nn.functional.silu)
    done = deps(*small_step(tmp_path))
    assert done.returncode == 1
    (line,) = done.stdout.split("FAILED")[1].splitlines()[:1]
    assert not any(character.isdigit() for character in line)
    assert "bench step: OFA style: a loss is off by" in done.stderr
    (table,) = tmp_path.glob("*.csv")
    *others, wrong = rows_of(table)
    assert wrong["status"].startswith("FAILED: a loss is off by")
    assert not any(wrong[name] for name in ("seconds_per_step", "images_per_second", "ratio", "peak_memory_bytes"))
    assert all(row["seconds_per_step"] for row in others)


@pytest.mark.usefixtures("quick_memory")
def test_a_step_with_right_losses_and_a_wrong_gradient_fails_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = ofa_style._kernel

    def without_gradient(*given: Any) -> Tensor:
        return right(*given).detach()

    monkeypatch.setattr(ofa_style, "_kernel", without_gradient)
    done = deps(*small_step(tmp_path))
    assert done.returncode == 1
    assert "OFA style: the gradient of blocks." in done.stderr


@pytest.mark.parametrize("network", [name for name in NETWORKS if name.endswith("_digits")])
def test_the_ofa_style_step_has_the_losses_and_gradients_of_the_supernet(network: str) -> None:
    space = NETWORKS[network]
    plan, weights = sandwich_plan(space), initial_weights(space)
    images, labels = batch(space, 4, CPU)
    images = images.double()
    truth = exact(space, plan, weights, CPU)
    losses = truth.step(images, labels)
    supernet = OfaStyleSupernet(space)
    supernet.load_state_dict(weights)
    other = OfaStyleStep(supernet.double(), plan)
    # Both read logits or soft labels in float32 at one place.
    assert other(images, labels) == pytest.approx([float(loss) for loss in losses], rel=1e-6)
    found, wanted = copy_momentum(supernet, other.optimizer), truth.first_gradient()
    assert found.keys() == wanted.keys()
    for name, gradient in wanted.items():
        scale = float(gradient.abs().max())
        torch.testing.assert_close(found[name].double(), gradient, rtol=1e-5, atol=1e-6 * scale + 1e-7, msg=name)
    # Zero are kernel matrices that no subnet of the step takes, and but for rounding shifts before batch norm.
    assert sum(float(gradient.abs().max()) > 1e-4 for gradient in wanted.values()) > 0.8 * len(wanted)


def test_peak_memory_of_a_step_is_more_than_its_first_activations() -> None:
    peak = peak_on_cpu("mobilenet_v3_digits", 64, "strong eager")
    if not memory._CLEAR.exists():
        assert peak is None
        return
    assert peak is not None
    assert peak > 64 * 96 * 16 * 16 * 4  # the first elastic block's expanded activations


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["bench", "step", "--network", "resnet"], "networks: mobilenet_v3, "),
        (["bench", "step", "--device", "tpu"], "--device: 'tpu' is no device; legal: cpu, cuda"),
        (["bench", "kernels", "--device", "tpu"], "--device: 'tpu' is no device; legal: cpu, cuda"),
        (["bench", "kernels", "--network", "resnet"], "networks: mobilenet_v3, "),
        (["bench", "kernels", "--operation", "pooling"], "--operation: 'pooling' is none; legal: pointwise, "),
        (["bench", "kernels", "--output", "/proc/nowhere"], "--output: /proc/nowhere: cannot be written to"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments: list[str], complaint: str) -> None:
    done = deps(*arguments)
    assert complaint in refused(done)
    assert not done.stdout


@pytest.mark.parametrize("command", ["step", "kernels"])
def test_cuda_without_a_gpu_is_one_line_and_exit_code_2(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    done = deps("bench", command, "--device", "cuda")
    assert done.returncode == 2
    assert "--device: 'cuda' needs a GPU that torch can use, and there is none; legal here: cpu" in (done.stderr)


@pytest.mark.parametrize("command", ["step", "kernels"])
def test_help_shows_an_example(command: str) -> None:
    done = deps("bench", command, "--help")
    assert done.returncode == 0
    assert "Example:" in done.stdout
