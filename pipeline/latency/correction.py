"""From the times of pieces to the time of a subnet: a linear correction of their sum, fitted to whole subnets.

A sum of pieces is off in ways that are linear, too. Each piece is called, and in the whole network there is one call;
each gets and gives tensors in the layout of the runtime's users, which a network inside keeps in its own (ONNX
Runtime's NCHWc); and the weights of a small graph stay in the nearest cache, which those of a network may not.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

Finite = Annotated[float, Field(allow_inf_nan=False)]


class Features(NamedTuple):
    """What of a piece counts.

    Attributes:
        seconds: that it takes as a graph of its own.
        elements: of its input and its output, in a batch.
        parameters: of its weights.
    """

    seconds: float
    elements: float
    parameters: float


class Correction(BaseModel):
    """Seconds of a subnet = `constant` + the sum over its pieces of `calls` + their features times these factors."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seconds: Finite
    elements: Finite
    parameters: Finite
    calls: Finite
    constant: Finite

    def of(self, piece: Features) -> float:
        """What a piece adds to the subnet, seconds."""
        return (
            self.calls
            + self.seconds * piece.seconds
            + self.elements * piece.elements
            + self.parameters * piece.parameters
        )


def fit_correction(subnets: list[list[Features]], measured: np.ndarray) -> Correction:
    """The correction with the least squares of relative errors.

    Args:
        subnets: the pieces of each.
        measured: seconds of each: float64 [N].
    """
    sums = np.array([[*np.sum(pieces, axis=0), len(pieces), 1.0] for pieces in subnets])
    scales = np.abs(sums).max(axis=0)
    solution = np.linalg.lstsq(sums / scales / measured[:, None], np.ones(len(measured)), rcond=1e-6)[0] / scales
    return Correction(**dict(zip(("seconds", "elements", "parameters", "calls", "constant"), solution, strict=True)))


class Errors(BaseModel):
    """How far predictions of subnets are off that nothing was fitted to.

    Attributes:
        subnets: how many they are.
        median_error: of the absolute relative errors.
        within_10_percent: share of the subnets.
        kendall_tau: τ-a between predicted and measured, Kendall (1938); 1 where the order is the same.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    subnets: int = Field(gt=0)
    median_error: float = Field(ge=0, allow_inf_nan=False)
    within_10_percent: float = Field(ge=0, le=1)
    kendall_tau: float = Field(ge=-1, le=1)


def errors(predicted: np.ndarray, measured: np.ndarray) -> Errors:
    """Of predictions and measurements: float64 [N]."""
    off = np.abs(predicted / measured - 1)
    pairs = np.triu_indices(len(measured), 1)
    orders = [np.sign(each[:, None] - each[None])[pairs] for each in (predicted, measured)]
    tau = float((orders[0] * orders[1]).mean()) if len(pairs[0]) else 1.0
    return Errors(
        subnets=len(measured),
        median_error=float(np.median(off)),
        within_10_percent=float((off <= 0.1).mean()),
        kendall_tau=tau,
    )
