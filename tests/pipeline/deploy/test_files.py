"""The files of an export compute what the network computes; INT8 ones as far as the gate lets them."""

import copy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import onnx
import pytest
import torch
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from torch import Tensor

from pipeline.deploy.gate import Drop, drop_of, gate
from pipeline.deploy.images import Images
from pipeline.deploy.measure import ORIGINAL, check_equal, measure
from pipeline.deploy.program import content_of, load_program
from pipeline.deploy.quantise import Quantiser
from pipeline.deploy.runtime import Runtime, latencies
from pipeline.errors import RunFailure
from pipeline.supernet.shapes import layers
from tests.pipeline.deploy.toy import SUBNET, labelled, network, onnx_file, program, with_wide_channel
from tests.pipeline.supernet.spaces import TOY
from tests.support.forked_program import REPOSITORY

LAYERS = tuple(layer.name for layer in layers(TOY, SUBNET) if layer.has_weights)
WIDE = {"blocks.0.expand", "blocks.0.depthwise"}  # what reads or writes the wide channel


@pytest.fixture(scope="module")
def calibration() -> Images:
    return labelled(network(), 128, seed=2)


@pytest.fixture(scope="module")
def choice() -> Images:
    return labelled(network(), 192, seed=3)


def logits(run: Callable[[Tensor], Tensor], images: Images) -> Tensor:
    with torch.no_grad():
        return torch.cat([run(batch) for batch in images.normalised()])


def top1(model: bytes, images: Images) -> float:
    return 100 * float((logits(Runtime(model, 1), images).argmax(1) == images.labels).double().mean())


def test_the_onnx_file_gives_the_networks_logits_for_any_batch(choice: Images) -> None:
    run = Runtime(onnx_file(), threads=1)
    in_float64 = copy.deepcopy(network()).double()
    expected = logits(lambda images: in_float64(images.double()), choice)
    assert expected.std() > 0.1
    torch.testing.assert_close(logits(run, choice).double(), expected, atol=1e-5, rtol=1e-5)
    batch = next(choice.normalised())
    for size in (1, 3):
        torch.testing.assert_close(run(batch[:size]).double(), expected[:size], atol=1e-5, rtol=1e-5)


def test_the_graph_has_the_networks_names_and_nothing_of_this_machine() -> None:
    model = onnx.load_from_string(onnx_file())
    onnx.checker.check_model(model, full_check=True)
    weights = {each.name.removesuffix(".weight") for each in model.graph.initializer if each.name.endswith(".weight")}
    assert weights == set(LAYERS)
    assert {"BatchNormalization", "Gather"}.isdisjoint(node.op_type for node in model.graph.node)
    assert b"pipeline.supernet" not in onnx_file()
    for content in (onnx_file(), content_of(program())):
        assert str(REPOSITORY).encode() not in content
        assert b"plain.py" not in content


def test_the_program_loads_where_this_project_is_not(tmp_path: Path, choice: Images) -> None:
    images = next(choice.normalised())[:5]
    (tmp_path / "subnet.pt2").write_bytes(content_of(program()))
    torch.save(images, tmp_path / "images")
    code = """
import sys
sys.modules.update(dict.fromkeys(["pipeline", "kernels", "data_shards", "cluster"]))  # None: cannot be imported
import torch
torch.save(torch.export.load("subnet.pt2").module()(torch.load("images")), "logits")
"""
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    with torch.no_grad():
        torch.testing.assert_close(torch.load(tmp_path / "logits"), network()(images), atol=1e-5, rtol=1e-5)


def test_other_logits_are_found(choice: Images) -> None:
    check_equal(network(), Runtime(onnx_file(), 1), choice.normalised(), "file")
    check_equal(network(), load_program(content_of(program())), choice.normalised(), "file")
    wrong = copy.deepcopy(network())
    wrong.get_submodule("blocks.0.project").weight.data[0] *= 1.01
    for other in (wrong, lambda images: network()(images) * float("nan")):
        with pytest.raises(RunFailure, match="file: its logits differ"):
            check_equal(network(), other, choice.normalised(), "file")


def test_what_is_measured_is_what_a_hand_counts(choice: Images) -> None:
    small = choice.first(64)
    found = measure(network(), {"other": lambda images: network()(images).flip(1)}, small.batches)
    expected = logits(network(), small)
    assert (found[ORIGINAL].accuracy.top1, found[ORIGINAL].others, found[ORIGINAL].difference) == (100, 0, 0)
    flipped = expected.flip(1)
    hits = (flipped.argmax(1) == small.labels).sum()
    assert found["other"].accuracy.top1 == 100 * int(hits) / len(small)
    assert found["other"].others == len(small) - int(hits)
    assert found["other"].difference == pytest.approx(float((flipped - expected).abs().max() / expected.abs().max()))
    assert set(latencies({"a": onnx_file(), "b": onnx_file()}, next(small.normalised())[:1])) == {"a", "b"}


def test_int8_is_what_onnx_runtimes_own_static_quantisation_makes(
    tmp_path: Path, calibration: Images, choice: Images
) -> None:
    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.batches = calibration.normalised()

        def get_next(self):
            batch = next(self.batches, None)
            return None if batch is None else {"images": batch.contiguous().numpy()}

    (tmp_path / "float.onnx").write_bytes(onnx_file())
    quantize_static(
        tmp_path / "float.onnx",
        tmp_path / "int8.onnx",
        Reader(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    ours = Quantiser(onnx_file(), calibration.normalised()).quantised()
    expected = logits(Runtime((tmp_path / "int8.onnx").read_bytes(), 1), choice)
    torch.testing.assert_close(logits(Runtime(ours, 1), choice), expected, atol=1e-6, rtol=1e-6)
    assert (expected - logits(network(), choice)).abs().max() > 1e-3


def test_layers_in_float_keep_their_weights_and_the_others_have_a_scale_per_channel(calibration: Images) -> None:
    quantiser = Quantiser(onnx_file(), calibration.normalised())
    assert set(quantiser.layers) == set(LAYERS)
    model = onnx.load_from_string(quantiser.quantised(["blocks.0.expand", "classifier"]))
    tensors = {each.name: each for each in model.graph.initializer}
    kept = {name.removesuffix(".weight") for name in tensors if name.endswith(".weight")}
    assert kept == {"blocks.0.expand", "classifier"}
    outputs = {layer.name: layer.outputs for layer in layers(TOY, SUBNET)}
    for layer in set(LAYERS) - kept:
        assert tensors[f"{layer}.weight_quantized"].data_type == onnx.TensorProto.INT8
        assert list(tensors[f"{layer}.weight_scale"].dims) == [outputs[layer]]


def test_the_gate_brings_back_what_naive_quantisation_loses(calibration: Images, choice: Images) -> None:
    model = with_wide_channel(onnx_file())
    torch.testing.assert_close(logits(Runtime(model, 1), choice), logits(network(), choice), atol=1e-4, rtol=1e-4)
    quantiser, in_float = Quantiser(model, calibration.normalised()), Runtime(model, 1)
    gated = gate(quantiser, in_float, choice, limit=10, threads=1)
    assert gated.holds
    assert top1(model, choice) - top1(gated.naive, choice) > 40
    assert gated.naive_drop.points == pytest.approx(top1(model, choice) - top1(gated.naive, choice))
    assert gated.drop.points == pytest.approx(top1(model, choice) - top1(gated.model, choice))
    assert gated.drop.points < 10
    assert set(gated.float_layers) == WIDE
    others = [damage for layer, damage in gated.damages.items() if layer not in WIDE]
    assert min(gated.damages[layer] for layer in WIDE) > 100 * max(others)


def test_a_gate_that_cannot_hold_says_so(calibration: Images, choice: Images) -> None:
    quantiser = Quantiser(onnx_file(), calibration.normalised())
    gated = gate(quantiser, Runtime(onnx_file(), 1), choice.first(64), limit=-1, threads=1)
    assert not gated.holds
    assert len(gated.float_layers) == len(LAYERS) - 1


def test_where_all_layers_may_be_in_int8_none_is_tried_alone(calibration: Images, choice: Images) -> None:
    tried: list[str] = []
    quantiser = Quantiser(onnx_file(), calibration.normalised())
    gated = gate(quantiser, Runtime(onnx_file(), 1), choice, limit=20, threads=1, tell=tried.append)
    assert (gated.holds, gated.float_layers, gated.damages) == (True, (), {})
    assert gated.model == gated.naive
    assert tried == ["all layers in INT8"]


@pytest.mark.parametrize("needed", [1, 2, 5, 9, 10])
def test_as_few_layers_go_back_as_it_takes(needed: int, choice: Images, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever files are like: here a file's content is the number of layers in float, and each of the worst counts."""
    names = tuple(f"layer{number}" for number in range(11))
    monkeypatch.setattr("pipeline.deploy.gate.Runtime", lambda model, threads: model)
    monkeypatch.setattr("pipeline.deploy.gate._logits", lambda run, images: run)
    monkeypatch.setattr("pipeline.deploy.gate._divergence", lambda _, alone: names.index(alone[1]))
    monkeypatch.setattr("pipeline.deploy.gate.drop_of", lambda _, found, __: Drop(5 if found[0] < needed else 0, 0))

    def quantised(in_float=()):
        left = [name for name in names if name not in in_float]
        return len(in_float), left[0]

    quantiser = SimpleNamespace(layers=names, quantised=quantised)
    gated = gate(quantiser, [None], choice, limit=1, threads=1)
    assert gated.holds
    assert gated.float_layers == tuple(reversed(names))[:needed]


def test_a_drop_is_of_the_same_images_and_has_their_standard_error() -> None:
    labels = torch.tensor([0, 1, 0, 1])
    expected = torch.eye(2)[torch.tensor([0, 1, 0, 0])]
    found = torch.eye(2)[torch.tensor([0, 0, 1, 1])]
    drop = drop_of(expected, found, labels)  # lost 0, 1, 1, -1
    assert drop.points == 25
    assert drop.error == pytest.approx(100 * (0.6875 / 4) ** 0.5)
    assert not drop.within(25)
    assert Drop(0.5, 0.5).within(1)
