"""Post-training quantisation to INT8, by ONNX Runtime's static quantiser in QDQ form.

Weights are signed and have a scale per channel, activations are unsigned and have one per tensor, by the least and
greatest value on calibration images: ONNX Runtime's choice for processors. These are the two halves of its
`quantize_static`, so that many files with other layers in INT8 are made from one calibration.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

from torch import Tensor

from pipeline.deploy.onnx_graph import INPUT

_WEIGHT = ".weight"


class Quantiser:
    """Makes INT8 files of an ONNX file.

    Args:
        model: content of the float file, whose weights have the names of the network's state.
        calibration: batches of normalised images, float32 [N, 3, H, W], from which activations get their ranges.

    Attributes:
        layers: names of the network's layers with weights, in order of execution. What follows a layer up to the next
            one, as activations and sums, is quantised or left as it is together with it.
    """

    def __init__(self, model: bytes, calibration: Iterable[Tensor]) -> None:
        import onnx
        from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, create_calibrator
        from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

        self._model = onnx.shape_inference.infer_shapes(onnx.load_from_string(model))
        self._types = sorted({*QDQRegistry, *QLinearOpsRegistry})
        self._nodes = _nodes_of_layers(self._model)
        self.layers = tuple(self._nodes)

        class Reader(CalibrationDataReader):
            def __init__(self) -> None:
                self._batches: Iterator[Tensor] = iter(calibration)

            def get_next(self) -> Any:
                batch = next(self._batches, None)
                return None if batch is None else {INPUT: batch.contiguous().numpy()}

        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            onnx.save(self._model, place / "float.onnx")
            calibrator = create_calibrator(
                place / "float.onnx",
                self._types,
                augmented_model_path=str(place / "augmented.onnx"),
                calibrate_method=CalibrationMethod.MinMax,
            )
            calibrator.collect_data(Reader())
            self._ranges = calibrator.compute_data()

    def quantised(self, float_layers: Collection[str] = ()) -> bytes:
        """The INT8 file in which these layers are left as they are."""
        import onnx
        from onnxruntime.quantization import QDQQuantizer, QuantType

        model = onnx.ModelProto()
        model.CopyFrom(self._model)  # the quantiser changes it
        excluded = [node for layer in float_layers for node in self._nodes[layer]]
        quantiser = QDQQuantizer(
            model,
            per_channel=True,
            reduce_range=False,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QUInt8,
            tensors_range=self._ranges,
            nodes_to_quantize=[],
            nodes_to_exclude=excluded,
            op_types_to_quantize=self._types,
            extra_options={},
        )
        quantiser.quantize_model()
        return quantiser.model.model.SerializeToString(deterministic=True)


def _nodes_of_layers(model: Any) -> dict[str, list[str]]:
    """The names of each layer's nodes; those before the first layer are with it."""
    weights = {each.name for each in model.graph.initializer if each.name.endswith(_WEIGHT)}
    nodes: dict[str, list[str]] = {}
    before: list[str] = []
    for node in model.graph.node:
        if weight := next((name for name in node.input if name in weights), None):
            before = nodes[weight.removesuffix(_WEIGHT)] = before if not nodes else []
        before.append(node.name)
    return nodes
