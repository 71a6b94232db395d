"""Activations, their derivatives and the prologue they are part of, for tiles in float32.

The activation is fixed when a kernel is compiled; None stands for no prologue at all.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def activate(z, ACTIVATION: tl.constexpr):
    """activation(z). A NaN stays a NaN, so that a diverged run is seen."""
    if ACTIVATION == "relu":
        return tl.where(z < 0, 0.0, z)
    elif ACTIVATION == "relu6":
        return tl.where(z < 0, 0.0, tl.where(z > 6, 6.0, z))
    elif ACTIVATION == "h_swish":
        return z * tl.minimum(tl.maximum(z + 3, 0.0), 6.0) * (1 / 6)
    elif ACTIVATION == "swish":
        return z * tl.sigmoid(z)
    else:
        tl.static_assert(ACTIVATION == "identity")
        return z


@triton.jit
def derivative(z, ACTIVATION: tl.constexpr):
    """activation'(z)."""
    if ACTIVATION == "relu":
        return tl.where(z > 0, 1.0, 0.0)
    elif ACTIVATION == "relu6":
        return tl.where((z > 0) & (z < 6), 1.0, 0.0)
    elif ACTIVATION == "h_swish":
        return tl.where(z < -3, 0.0, tl.where(z > 3, 1.0, z * (1 / 3) + 0.5))
    elif ACTIVATION == "swish":
        sigmoid = tl.sigmoid(z)
        return sigmoid * (1 + z * (1 - sigmoid))
    else:
        tl.static_assert(ACTIVATION == "identity")
        return tl.full(z.shape, 1.0, tl.float32)


@triton.jit
def coefficients(scale, shift, channel, channels, ACTIVATION: tl.constexpr):
    """Scale and shift of some channels; without a prologue something that nobody uses."""
    if ACTIVATION is None:
        return 0.0, 0.0
    else:
        inside = channel < channels
        return tl.load(scale + channel, inside, 0.0), tl.load(shift + channel, inside, 0.0)


@triton.jit
def prologue(raw, scale, shift, ACTIVATION: tl.constexpr):
    """activation(raw · scale + shift), or raw where there is no prologue."""
    if ACTIVATION is None:
        return raw
    else:
        return activate(raw * scale + shift, ACTIVATION)
