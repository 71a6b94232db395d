"""How all kernels are compiled, tuned and spread over the GPU.

Every subnet of a supernet has shapes of its own, and nothing may be compiled or tuned for one shape alone. So sizes are
arguments that Triton does not specialise; it would otherwise compile once more for a size of one, and for a multiple of
16. From a multiple of 16 it would learn that rows of channels start at aligned addresses and may be read 16 bytes at a
time. It learns this from `vector` instead: channels are passed as a number of vectors. Block sizes are tuned once per
`bucket` of sizes; Triton keeps the result in its cache on disk, by GPU, version and source.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
import triton
from torch import Tensor
from triton import knobs

from kernels.gpu.triton_cache import settle_triton_cache
from kernels.primitives import Prologue

settle_triton_cache()

# At once, about eight run on each of the 132 multiprocessors of an H200. This is several times as many, so that little
# of it is idle while the last ones finish.
PROGRAMS = 4096


def config(warps: int, stages: int, **blocks: int) -> triton.Config:
    """A choice of block sizes. Multiplications and additions are fused, the default before Triton 3.10."""
    return triton.Config({**blocks, "enable_fp_fusion": True}, num_warps=warps, num_stages=stages)


def kernel(
    *configs: triton.Config, fits: Callable[[Mapping[str, Any]], bool] | None = None
) -> Callable[[Callable[..., Any]], Any]:
    """A Triton kernel tuned over `configs`.

    Parameters annotated `int` are sizes, which are not specialised. One of them is `bucket`: not read, it tells the
    tuner for which sizes a result holds, besides data types and what is known when compiling. Parameters called
    `weight` may point to any address: the centre of a larger kernel starts where it likes.

    Args:
        fits: of what is known when compiling, whether to try these block sizes at all.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        known = _annotated(function, "tl.constexpr")
        compiled = triton.jit(do_not_specialize=_annotated(function, "int"), do_not_specialize_on_alignment=["weight"])(
            function
        )

        def fitting(offered: list[triton.Config], arguments: Mapping[str, Any], **others: Any) -> list[triton.Config]:
            return [each for each in offered if fits is None or fits(dict(arguments, **others, **each.kwargs))]

        return triton.autotune(
            # The interpreter measures nothing: it takes the first.
            list(configs[:1] if knobs.runtime.interpret else configs),
            key=["bucket", *(name for name in known if name not in configs[0].kwargs)],
            prune_configs_by={"early_config_prune": fitting},
            do_bench=_milliseconds,
            cache_results=True,
        )(compiled)

    return decorate


def untuned_kernel(function: Callable[..., Any]) -> Any:
    """A Triton kernel over vectors: too little work for its block sizes to matter, or for addresses to be aligned.

    Parameters annotated `int` are sizes, which are not specialised.
    """
    anywhere = _annotated(function, inspect.Parameter.empty)  # what points to memory
    return triton.jit(do_not_specialize=_annotated(function, "int"), do_not_specialize_on_alignment=anywhere)(function)


def _annotated(function: Callable[..., Any], annotation: object) -> list[str]:
    return [each.name for each in inspect.signature(function).parameters.values() if each.annotation == annotation]


def _milliseconds(call: Callable[[], Any], quantiles: Any) -> Any:
    return triton.testing.do_bench(call, warmup=5, rep=20, quantiles=quantiles)


def vector(*channels: int) -> int:
    """By which number of channels all of these counts are divisible: 8, which are 16 bytes in bfloat16, or 1."""
    return 8 if all(count % 8 == 0 for count in channels) else 1


def bucket(*sizes: int) -> int:
    """The same number for sizes that agree when rounded up to powers of two."""
    number = 0
    for size in sizes:
        number = 64 * number + (size - 1).bit_length()
    return number


def workers(rows: int, least: int, across: int) -> int:
    """How many programs share `rows`, at least `least` rows each, where `across` programs stand side by side.

    It fixes the size of the partial sums, so it must not depend on tuning.
    """
    return max(1, min(triton.cdiv(rows, least), PROGRAMS // across))


def rows_of(x: Tensor) -> int:
    """N · H · W of activations in the channels_last format; less than 2^31."""
    assert x.is_contiguous(memory_format=torch.channels_last)
    return x.shape[0] * x.shape[2] * x.shape[3]


def empty_images(like: Tensor, channels: int, height: int, width: int) -> Tensor:
    """Uninitialised activations [N, channels, height, width] in the format of `like`."""
    shape = (like.shape[0], channels, height, width)
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=torch.channels_last)


def empty_partials(like: Tensor, *shape: int) -> Tensor:
    """Uninitialised float32 partial sums on the device of `like`."""
    return torch.empty(shape, dtype=torch.float32, device=like.device)


def parts(prologue: Prologue | None) -> tuple[Tensor | None, Tensor | None, str | None]:
    """Scale, shift and activation; None where there is no prologue."""
    return (None, None, None) if prologue is None else prologue
