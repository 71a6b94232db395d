"""Plain networks and their blocks as ONNX graphs: the nodes that torch's exporter writes, in a thousandth of its time.

A network is called once; what torch computes for it, operation by operation, is written down. The only file that knows
which ONNX node is which of torch's operations.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

_OPSET, _IR = 20, 10  # those that torch's exporter writes
_aten = torch.ops.aten


def onnx_graph(network: nn.Module, x: Tensor) -> bytes:
    """`network` as a serialized ONNX model with its weights; input `x`, output `y`, batch axis free.

    Args:
        network: of torch's own layers, batch norm folded, in evaluation mode.
        x: what it is called with, float32.

    Raises:
        NotImplementedError: naming an operation of torch's that is not known here.
    """
    import onnx
    from onnx import TensorProto, helper

    # In channels_last, torch computes some things in ways of its own.
    network = copy.deepcopy(network).to(memory_format=torch.contiguous_format)  # pyright: ignore[reportCallIssue]
    with torch.no_grad(), _Recorder(network, x) as recorder:
        y = network(x)
    last = recorder.name(y)
    nodes = [
        helper.make_node(node.kind, node.inputs, [node.output], **node.attributes)
        for node in _needed(recorder.nodes, last)
    ]
    used = {name for node in nodes for name in node.input}
    shapes = {"x": x, last: y}
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *tensor.shape[1:]])
        for name, tensor in shapes.items()
    ]
    weights = [onnx.numpy_helper.from_array(value, name) for name, value in recorder.values.items() if name in used]
    graph = helper.make_graph(nodes, "subnet", ends[:1], ends[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR)
    return model.SerializeToString()


class _Node(NamedTuple):
    """A node of an ONNX graph."""

    kind: str
    inputs: list[str]
    output: str
    attributes: dict[str, Any]


def _needed(nodes: Sequence[_Node], last: str) -> list[_Node]:
    """Those that `last` is computed from."""
    wanted, found = {last}, []
    for node in reversed(nodes):
        if node.output in wanted:
            wanted |= {*node.inputs}
            found.append(node)
    return found[::-1]


class _Recorder(TorchDispatchMode):
    """Writes down what is computed while it is entered.

    Attributes:
        values: weights and constants, by name.
    """

    def __init__(self, network: nn.Module, x: Tensor) -> None:
        super().__init__()
        self.nodes: list[_Node] = []
        self.values = {name: tensor.detach().contiguous().numpy() for name, tensor in network.named_parameters()}
        self._names = {id(tensor): name for name, tensor in network.named_parameters()}
        self._names[id(x)] = "x"
        self._kept: list[Tensor] = []  # as long as they are, no other tensor has their id
        self._unsqueezed: dict[str, tuple[str, list[int]]] = {}

    def name(self, tensor: Tensor) -> str:
        return self._names[id(tensor)]

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        if function not in _WRITERS:
            raise NotImplementedError(f"{function}: its ONNX node is not known in {__name__}")
        y = result[0] if isinstance(result, tuple) else result
        self._kept.append(y)
        self._names[id(y)] = _WRITERS[function](self, y, *args)
        return result

    def add(self, kind: str, inputs: Sequence[Tensor | str | np.ndarray], **attributes: Any) -> str:
        """A node; the name of its output."""
        output = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(_Node(kind, [self._input(each) for each in inputs], output, attributes))
        return output

    def _input(self, value: Tensor | str | np.ndarray) -> str:
        if isinstance(value, Tensor):
            return self.name(value)
        if isinstance(value, str):
            return value
        name = f"constant_{len(self.values)}"
        self.values[name] = value
        return name

    def unsqueeze(self, y: Tensor, x: Tensor, axis: int) -> str:
        """As one node however many axes come one after the other."""
        base, axes = self._unsqueezed.get(self.name(x), (self.name(x), []))
        output = self.add("Unsqueeze", [base, _whole(*axes, axis)])
        self._unsqueezed[output] = (base, [*axes, axis])
        return output


def _whole(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def _plain(kind: str, **attributes: Any) -> Callable[..., str]:
    """Of an operation whose inputs are the node's."""
    return lambda recorder, y, *inputs: recorder.add(kind, inputs, **attributes)


def _convolution(
    recorder: _Recorder, y: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None,
    stride: list[int], padding: list[int], dilation: list[int], _: bool, __: list[int], groups: int,
) -> str:  # fmt: skip
    inputs = [x, weight] if bias is None else [x, weight, bias]
    window = {"kernel_shape": weight.shape[2:], "strides": stride, "pads": [*padding, *padding]}
    return recorder.add("Conv", inputs, dilations=dilation, group=groups, **window)


def _linear(recorder: _Recorder, y: Tensor, *factors: Tensor) -> str:
    """Of `mm` (x, weight) and `addmm` (bias, x, weight), whose weight is a transposed view: see `_transposed`."""
    *bias, x, weight = factors
    return recorder.add("Gemm", [x, weight, *bias], transB=1)


def _transposed(recorder: _Recorder, y: Tensor, weight: Tensor) -> str:
    return recorder.name(weight)


def _mean(recorder: _Recorder, y: Tensor, x: Tensor, axes: list[int], keepdims: bool = False) -> str:
    return recorder.add("ReduceMean", [x, _whole(*axes)], keepdims=int(keepdims))


def _view(recorder: _Recorder, y: Tensor, x: Tensor, shape: list[int]) -> str:
    return recorder.add("Reshape", [x, _whole(-1, *y.shape[1:])], allowzero=1)


def _clip(recorder: _Recorder, y: Tensor, x: Tensor, least: float, most: float) -> str:
    return recorder.add("Clip", [x, np.array(least, np.float32), np.array(most, np.float32)])


def _silu(recorder: _Recorder, y: Tensor, x: Tensor) -> str:
    return recorder.add("Mul", [x, recorder.add("Sigmoid", [x])])


def _max_pool(
    recorder: _Recorder, y: Tensor, x: Tensor, kernel: list[int], stride: list[int], padding: list[int]
) -> str:
    return recorder.add("MaxPool", [x], kernel_shape=kernel, strides=stride, pads=[*padding, *padding])


def _average_pool(
    recorder: _Recorder, y: Tensor, x: Tensor, kernel: list[int], stride: list[int],
    padding: Sequence[int] = (0, 0), ceil: bool = False, counts_padding: bool = True,
) -> str:  # fmt: skip
    return recorder.add(
        "AveragePool", [x], kernel_shape=kernel, strides=stride, pads=[*padding, *padding], ceil_mode=int(ceil),
        count_include_pad=int(counts_padding),
    )  # fmt: skip


def _bicubic(recorder: _Recorder, y: Tensor, x: Tensor, sides: list[int], *_: Any) -> str:
    sizes = recorder.add("Concat", [recorder.add("Shape", [x], start=0, end=2), _whole(*sides)], axis=0)
    return recorder.add("Resize", [x, "", "", sizes], mode="cubic", cubic_coeff_a=-0.75)


_WRITERS: dict[Any, Callable[..., str]] = {
    _aten.convolution.default: _convolution,
    _aten.mm.default: _linear,
    _aten.addmm.default: _linear,
    _aten.t.default: _transposed,
    _aten.add.Tensor: _plain("Add"),
    _aten.mul.Tensor: _plain("Mul"),
    _aten.relu.default: _plain("Relu"),
    _aten.hardswish.default: _plain("HardSwish"),
    _aten.hardsigmoid.default: _plain("HardSigmoid", alpha=1 / 6, beta=0.5),
    _aten.hardtanh.default: _clip,
    _aten.silu.default: _silu,
    _aten.mean.dim: _mean,
    _aten.view.default: _view,
    _aten.unsqueeze.default: _Recorder.unsqueeze,
    _aten.max_pool2d_with_indices.default: _max_pool,
    _aten.avg_pool2d.default: _average_pool,
    _aten.upsample_bicubic2d.default: _bicubic,
}
