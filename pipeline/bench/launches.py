"""`deps bench step --launches`: how often one sandwich step asks a GPU to compute, by what and in which pass.

Counted without a GPU. The step runs on tensors without memory: Triton's kernels are named instead of launched, and what
PyTorch is asked for passes its dispatcher. A step that waited for the device would fail here, as nothing has a value.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple
from unittest import mock

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils import _foreach_utils
from torch.utils._python_dispatch import TorchDispatchMode

from kernels.dispatch import KernelError, named_launches
from kernels.operations import Operations
from pipeline.bench.contenders import sandwich_plan
from pipeline.console.tables import print_json, print_table
from pipeline.engines.optimizer import SgdConfig
from pipeline.engines.single import SingleEngine
from pipeline.errors import UsageError
from pipeline.recipe.named_space import named_space
from pipeline.supernet.space import Space
from pipeline.supernet.subnet import Subnet
from pipeline.supernet.supernet import Supernet, Trunk
from pipeline.training.sandwich import sandwich_step

TOGETHER = "together"  # the last row of a pass, and of all
_OURS = "kernels."
_BATCH = 128  # no launch depends on it
_COMPUTE_NOTHING = ("aten.empty", "aten.new_empty", "aten.detach", "aten._unsafe_view", "aten.promote_types")
# What PyTorch composes of several launches without asking its dispatcher again.
_SEVERAL = {"aten.slice_backward": 2, "aten.select_backward": 2}  # a fill and a copy
# Most tensors that one launch of a multi-tensor kernel takes, by the number of lists.
_TENSORS = {1: 110, 2: 64, 3: 48, 4: 36}
_COLUMNS = {
    "pass": ("pass", ""),
    "what": ("launched", ""),
    "full": ("full", "d"),
    "smallest": ("smallest", "d"),
    "step": ("whole step", "d"),
}


class Launch(NamedTuple):
    """What is launched, and where in the step.

    Attributes:
        subnet: "full", "smallest" or "other"; "none" before the first of them.
        part: "forward" (with the loss), "backward" or "update".
        what: "module.kernel" of ours, or PyTorch's own name.
    """

    subnet: str
    part: str
    what: str


def step_launches(space: Space, bf16: bool = True) -> Counter[Launch]:
    """The launches of one sandwich step (full, smallest, two random) in training, by subnet, pass and kernel.

    Exact for our kernels. A call of PyTorch counts as one launch, which its libraries may make several of; a
    multi-tensor call, as many as its number of tensors needs.

    Args:
        bf16: under autocast, as GPUs train; else in float32.

    Raises:
        UsageError: where Triton is not installed.
    """
    plan, found = sandwich_plan(space), Counter[Launch]()
    place = _Place()

    def tell(what: str) -> None:
        found[Launch(place.subnet, place.part, what)] += 1

    try:
        with FakeTensorMode(), _as_on_a_gpu(), named_launches(tell) as operations, _Dispatched(tell):
            supernet = _Told(space, operations, bf16)
            engine = _PlacedEngine(supernet, place)
            side = space.image_sides[-1]
            images = torch.empty(_BATCH, 3, side, side).contiguous(memory_format=torch.channels_last)
            labels = torch.empty(_BATCH, dtype=torch.int64)
            found.clear()  # building is no part of a step
            sandwich_step(engine, plan, images, labels)
    except KernelError as error:
        raise UsageError(f"--launches: {error}") from None
    return found


def print_step_launches(network: str, as_json: bool) -> None:
    """Count, and print."""
    rows = launch_rows(step_launches(named_space(network)))
    if as_json:
        print_json({"network": network, "launches": rows})
        return
    print_table(f"Launches of one sandwich step (full, smallest, two random subnets): {network}", rows, _COLUMNS)
    print("A call of PyTorch counts as one launch, and a multi-tensor call as often as its number of tensors needs.")


def launch_rows(found: Mapping[Launch, int]) -> list[dict[str, Any]]:
    """By pass and kernel, most frequent first: the numbers of full model, smallest subnet and whole step; sums last."""
    rows = []
    for part in dict.fromkeys(launch.part for launch in found):
        names = {launch.what for launch in found if launch.part == part}
        of_part = [_row(found, part, (name,), name) for name in names]
        rows += sorted(of_part, key=lambda row: (-row["step"], row["what"]))
        rows.append(_row(found, part, names, TOGETHER))
    everything = {launch.what for launch in found}
    ours = {name for name in everything if name.startswith(_OURS)}
    rows.append(_row(found, None, ours, "our kernels"))
    rows.append(_row(found, None, everything - ours, "PyTorch"))
    rows.append(_row(found, None, everything, TOGETHER))
    return rows


def _row(found: Mapping[Launch, int], part: str | None, names: Any, what: str) -> dict[str, Any]:
    def number(subnet: str | None) -> int:
        return sum(
            count
            for launch, count in found.items()
            if part in (None, launch.part) and launch.what in names and subnet in (None, launch.subnet)
        )

    numbers = {"full": number("full"), "smallest": number("smallest"), "step": number(None)}
    return {"pass": part or "all", "what": what, **numbers}


class _Place:
    subnet, part = "none", "forward"


class _Told(Supernet):
    """A supernet whose operations are given."""

    def __init__(self, space: Space, operations: Operations, bf16: bool) -> None:
        super().__init__(space, bf16=bf16)
        self._operations = operations

    def operations(self, device: str) -> Operations:
        return self._operations


class _PlacedEngine(SingleEngine):
    """Tells where in the step it is."""

    def __init__(self, supernet: Supernet, place: _Place) -> None:
        super().__init__(supernet, SgdConfig())
        self._place = place

    def forward(self, images: Tensor | Trunk, subnet: Subnet, last: bool) -> Tensor:
        named = {self.supernet.space.largest(): "full", self.supernet.space.smallest(): "smallest"}
        self._place.subnet = named.get(subnet, "other")
        return super().forward(images, subnet, last)

    def backward(self, loss: Tensor, last: bool) -> None:
        self._place.part = "backward"
        super().backward(loss, last)
        self._place.part = "forward"  # what a step does with losses and logits

    def step(self, learning_rate: float) -> Tensor:
        self._place.subnet, self._place.part = "none", "update"
        return super().step(learning_rate)


class _Dispatched(TorchDispatchMode):
    """Tells what PyTorch is asked to compute, without views and allocations."""

    def __init__(self, tell: Any) -> None:
        super().__init__()
        self._tell = tell

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, _, _ = str(func).rpartition(".")
        is_view = any(each.alias_info and not each.alias_info.is_write for each in func._schema.returns)
        if name.startswith("aten.") and not (is_view or name.startswith(_COMPUTE_NOTHING)):
            for _ in range(_launches(name, args)):
                self._tell(name.removeprefix("aten."))
        return func(*args, **(kwargs or {}))


def _launches(name: str, arguments: Any) -> int:
    lists = [each for each in arguments if isinstance(each, list) and each and isinstance(each[0], Tensor)]
    if lists and name.startswith(("aten._foreach", "aten._fused")):
        return -(-len(lists[0]) // _TENSORS[len(lists)])
    return _SEVERAL.get(name, 1)


@contextmanager
def _as_on_a_gpu() -> Iterator[None]:
    """PyTorch takes tensors without memory for what multi-tensor calls are not made for."""
    kinds = [*_foreach_utils._foreach_supported_types, FakeTensor]
    with mock.patch.object(_foreach_utils, "_foreach_supported_types", kinds):
        yield
