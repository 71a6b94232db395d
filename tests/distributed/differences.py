"""How far two states of training lie apart."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor


def largest(
    actual: Mapping[str, Tensor], expected: Mapping[str, Tensor], names: Iterable[str], relative: bool = False
) -> float:
    """The largest difference of any element; NaN counts as infinite.

    Args:
        relative: to 1 + the size of what is expected, which for running variances may be large.
    """
    worst = 0.0
    for name in names:
        scale = 1 + expected[name].abs() if relative else torch.ones(())
        worst = max(worst, float(((actual[name] - expected[name]).abs() / scale).nan_to_num(nan=torch.inf).max()))
    return worst
