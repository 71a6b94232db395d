"""What is measured of a network follows from what its forward pass asks for."""

from dataclasses import replace

import pytest

from kernels.bench.cases import Case
from pipeline.bench.network_cases import network_cases
from pipeline.supernet.networks import NETWORKS
from pipeline.supernet.shapes import layers

CASES = {name: network_cases(NETWORKS[name], 2) for name in ("mobilenet_v3", "proxyless", "resnet50", "attentive_nas")}


@pytest.mark.parametrize("network", CASES)
def test_every_layer_of_the_full_model_is_a_case_and_no_case_is_twice(network: str) -> None:
    space, cases = NETWORKS[network], CASES[network]
    assert len(set(cases)) == len(cases)
    found = {(case.operation, case.inputs, case.outputs, case.kernel, case.stride, case.output_side) for case in cases}
    for layer in layers(space, space.largest()):
        if "squeeze_excite" in layer.name:
            continue  # both are within one operation
        shape = (layer.inputs, layer.outputs, layer.kernel, layer.stride)
        if layer.kind == "linear":
            assert ("linear", *shape, 1) in found
        elif layer.kind in ("conv", "depthwise"):
            kinds = ("depthwise",) if layer.kind == "depthwise" else ("pointwise", "conv")
            assert any((kind, *shape, layer.side) in found for kind in kinds), layer


def test_mobilenets_operations_are_there_and_its_largest_depthwise_ones_in_every_kernel_and_stride() -> None:
    cases = CASES["mobilenet_v3"]
    assert list(dict.fromkeys(case.operation for case in cases)) == [
        "pointwise",
        "depthwise",
        "conv",
        "residual",
        "squeeze_excite",
        "linear",
        "cross_entropy",
    ]
    found = {(case.inputs, case.side, case.kernel, case.stride) for case in cases if case.operation == "depthwise"}
    assert {(96, 112, kernel, 2) for kernel in (3, 5, 7)} | {(144, 56, kernel, 1) for kernel in (3, 5, 7)} <= found
    assert {(144, 56, 7, 2), (16, 112, 3, 1)} <= found


def test_activations_are_those_of_what_is_read_and_of_sums() -> None:
    project = Case("pointwise", 2, 88, 256, 56, activation="relu")
    assert {project, replace(project, operation="residual")} <= set(CASES["resnet50"])
    assert Case("conv", 2, 88, 88, 56, 3, activation="relu") in CASES["resnet50"]
    assert Case("conv", 2, 24, 32, 72) in CASES["attentive_nas"]  # a shortcut's projection, of what is pooled
    project = Case("pointwise", 2, 192, 32, 56, activation="relu6")
    assert {project, Case("residual", 2, 192, 32, 56)} <= set(CASES["proxyless"])
    assert Case("squeeze_excite", 2, 1344, 1344, 9, activation="swish") in CASES["attentive_nas"]
    assert Case("pointwise", 2, 1344, 224, 9) in CASES["attentive_nas"]  # what squeeze-and-excite gives is a tensor
