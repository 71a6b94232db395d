"""ONNX files in the runtime that they are for: ONNX Runtime, on the processor."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from pipeline.deploy.onnx_graph import INPUT, OUTPUT

_WARM_UP, _ROUNDS = 10, 100  # runs of each
_ERRORS_ONLY = 3


class Runtime:
    """An ONNX model, as a function of normalised images float32 [N, 3, H, W] to logits float32 [N, classes].

    Args:
        model: content of the file.
        threads: within an operation.
    """

    def __init__(self, model: bytes, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = _ERRORS_ONLY
        self._session: Any = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def __call__(self, images: Tensor) -> Tensor:
        [logits] = self._session.run([OUTPUT], {INPUT: images.contiguous().numpy()})
        return torch.from_numpy(logits)


def latencies(models: Mapping[str, bytes], image: Tensor) -> dict[str, float]:
    """Median time of one run of each model on one thread, milliseconds.

    The models take turns, so that a machine which is busy for a while is busy for all of them.

    Args:
        image: normalised, float32 [1, 3, H, W].
    """
    runs = {name: Runtime(model, threads=1) for name, model in models.items()}
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(_WARM_UP + _ROUNDS):
        for name, run in runs.items():
            began = time.perf_counter()
            run(image)
            seconds[name].append(time.perf_counter() - began)
    return {name: 1e3 * statistics.median(each[_WARM_UP:]) for name, each in seconds.items()}
