"""What an elastic layer asks of whoever computes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from torch import Tensor


class Operations(Protocol):
    """The operations of elastic layers, with the meaning of `kernels.reference`.

    What goes from one to the next (`Any`) is the implementation's own, or a tensor; what comes out of `settle`,
    `squeeze_excite` and `pool` is a tensor.
    """

    name: str

    def pointwise_conv(self, x: Any, weight: Tensor, outputs: int) -> Any: ...
    def conv(self, x: Any, weight: Tensor, outputs: int, stride: int) -> Any: ...
    def depthwise_conv(
        self, x: Any, weight: Tensor, kernel: int, stride: int, transforms: Mapping[str, Tensor]
    ) -> Any: ...
    def batch_norm(
        self,
        x: Any,
        weight: Tensor,
        bias: Tensor,
        running: tuple[Tensor, Tensor] | None,
        training: bool,
        momentum: float,
        epsilon: float,
        activation: str,
    ) -> Any: ...
    def squeeze_excite(
        self, x: Any, reduce: tuple[Tensor, Tensor], expand: tuple[Tensor, Tensor], reduced: int
    ) -> Tensor: ...
    def settle(self, x: Any, shortcut: Tensor | None, activation: str = "identity") -> Tensor: ...
    def pool(self, x: Any) -> Tensor: ...
    def linear(self, x: Tensor, weight: Tensor, bias: Tensor | None, outputs: int) -> Tensor: ...
