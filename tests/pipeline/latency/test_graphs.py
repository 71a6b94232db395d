"""Graphs that are written at once are those of torch's exporter, node for node, and compute what torch does."""

import warnings

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from pipeline.latency.graphs import onnx_graph
from pipeline.supernet.extract import extract, plain_network
from pipeline.supernet.fold import fold_batch_norm
from pipeline.supernet.networks import NETWORKS
from tests.pipeline.supernet.test_supernet import images, lively

NAMES = ("mobilenet_v3", "proxyless", "resnet50", "attentive_nas")


def nodes(model: onnx.ModelProto) -> list[tuple[str, dict]]:
    """Kinds of the nodes with their attributes, those that ONNX has by itself left out."""
    default = {"alpha": 1.0, "beta": 1.0, "transA": 0, "auto_pad": b"NOTSET", "noop_with_empty_axes": 0}
    default |= {"antialias": 0, "exclude_outside": 0, "extrapolation_value": 0.0, "ceil_mode": 0, "dilations": [1, 1]}
    default |= {"keep_aspect_ratio_policy": b"stretch", "coordinate_transformation_mode": b"half_pixel"}
    default |= {"nearest_mode": b"floor", "storage_order": 0}

    def attributes(node: onnx.NodeProto) -> dict:
        found = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
        return {name: value for name, value in found.items() if name not in default or default[name] != value}

    return [(node.op_type, attributes(node)) for node in model.graph.node]


@pytest.mark.parametrize("name", NAMES)
def test_a_subnets_graph_has_the_nodes_of_torchs_exporter(name: str) -> None:
    space = NETWORKS[f"{name}_digits"]
    subnet = space.smallest()
    network = fold_batch_norm(plain_network(space, subnet).eval())  # of one in channels_last, torch writes detours
    pixels = images(2, space.image_side(subnet))
    ours = onnx.load_from_string(onnx_graph(network, pixels[:1]))
    onnx.checker.check_model(ours, full_check=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exported = torch.onnx.export(
            network, (pixels,), dynamo=True, dynamic_shapes=({0: torch.export.Dim("batch")},), verbose=False
        )
    assert exported is not None
    assert nodes(ours) == nodes(exported.model_proto)


@pytest.mark.parametrize("name", NAMES)
def test_a_subnets_graph_gives_its_logits_at_any_batch(name: str) -> None:
    space = NETWORKS[f"{name}_digits"]
    network = fold_batch_norm(extract(lively(space), space.largest()))
    pixels = images(3, space.image_side(space.largest()))
    session = onnxruntime.InferenceSession(onnx_graph(network, pixels[:1]), providers=["CPUExecutionProvider"])
    logits = np.asarray(session.run(None, {"x": pixels.numpy()})[0])
    with torch.no_grad():
        np.testing.assert_allclose(logits, network(pixels).numpy(), atol=1e-4, rtol=1e-4)


def test_an_operation_without_a_node_is_named() -> None:
    with pytest.raises(NotImplementedError, match=r"aten\.tanh\.default"):
        onnx_graph(torch.nn.Tanh(), torch.zeros(1, 3, 4, 4))
