"""The runtimes that latency is measured in, by the names that commands know: so far ONNX Runtime, on the CPU.

The only file of this package that knows ONNX Runtime.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from data_shards.one_line import shown
from pipeline.errors import UsageError
from pipeline.extras import check_installed
from pipeline.latency.graphs import onnx_graph


class Prepared(Protocol):
    """A network that is ready to run, with its input."""

    def __call__(self) -> float:
        """Run it, and return the seconds that this took."""
        ...


class Runtime(Protocol):
    """Where subnets are to run.

    Attributes:
        name: that commands know it by.
        version: of its library.
        clock: what seconds are of.
    """

    name: str
    version: str
    clock: str

    def prepare(self, network: nn.Module, x: Tensor) -> Prepared:
        """`network`, batch norm folded, to be run with `x`, float32."""
        ...


class OnnxRuntime:
    """ONNX Runtime's CPU execution provider, with all optimisations that it makes by default.

    A single thread is the caller's own, and the seconds are those in which the processor worked for it: what it waits
    while other programs have the processor does not count. Several threads can be timed by the wall clock alone.

    Raises:
        UsageError: where it is not installed.
    """

    name = "onnxruntime"

    def __init__(self, threads: int) -> None:
        check_installed("latency", "deploy", "onnx", self.name)
        import onnxruntime

        self.version: str = onnxruntime.__version__
        self.clock = "processor time of the one thread" if threads == 1 else "wall clock"
        self._read: Callable[[], float] = time.thread_time if threads == 1 else time.perf_counter
        self._options = onnxruntime.SessionOptions()
        self._options.intra_op_num_threads = threads
        self._options.inter_op_num_threads = 1
        # Sessions that wait for their turn leave the processors to the one that runs.
        self._options.add_session_config_entry("session.force_spinning_stop", "1")

    def prepare(self, network: nn.Module, x: Tensor) -> Prepared:
        """See `Runtime`."""
        import onnxruntime

        session = onnxruntime.InferenceSession(
            onnx_graph(network, x), self._options, providers=["CPUExecutionProvider"]
        )
        with torch.no_grad():
            return _Session(session, x, network(x), self._read)


class _Session:
    """A session whose input and output stay where they are: no run has to find memory for them."""

    def __init__(self, session: Any, x: Tensor, output: Tensor, read: Callable[[], float]) -> None:
        from onnxruntime import OrtValue

        self._session, self._read = session, read
        self._binding = session.io_binding()
        # What is bound is kept here as well, for as long as it is used.
        self._bound = [OrtValue.ortvalue_from_numpy(each.contiguous().numpy()) for each in (x, output)]
        self._binding.bind_ortvalue_input(session.get_inputs()[0].name, self._bound[0])
        self._binding.bind_ortvalue_output(session.get_outputs()[0].name, self._bound[1])

    def __call__(self) -> float:
        self._session.run_with_iobinding(self._binding)  # what others left in the caches is gone then
        began = self._read()
        self._session.run_with_iobinding(self._binding)
        return self._read() - began


RUNTIMES: dict[str, Callable[[int], Runtime]] = {OnnxRuntime.name: OnnxRuntime}


def runtime_named(name: str, threads: int) -> Runtime:
    """The runtime of `--runtime`, which computes with that many threads.

    Raises:
        UsageError: where the name is unknown, naming the legal ones, or it is not installed.
    """
    if name not in RUNTIMES:
        raise UsageError(f"--runtime {shown(name)}: is no runtime; legal: {', '.join(RUNTIMES)}")
    return RUNTIMES[name](threads)
