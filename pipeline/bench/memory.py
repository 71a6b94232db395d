"""Peak memory that one step takes beyond the weights and momentum that stay.

On CUDA: what torch has allocated at most, in this process. On CPUs: resident memory at its peak, of a process of its
own for each contender, as one contender's freed memory would be taken again by the next. That process is
`python -m pipeline.bench.memory NETWORK BATCH CONTENDER`, which prints bytes.
"""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

import torch
from torch import Tensor

from pipeline.bench.contenders import StepContender, batch, build, initial_weights, sandwich_plan
from pipeline.errors import RunFailure
from pipeline.recipe.named_space import named_space

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def peak_on_cuda(contender: StepContender, images: Tensor, labels: Tensor) -> int:
    """Bytes that a step of `contender` allocates at most, on top of what was allocated before."""
    images = contender.lay_out(images)
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    contender.step(images, labels)
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def peak_on_cpu(network: str, batch_size: int, contender: str) -> int | None:
    """Bytes by which a step raises resident memory at most; None where the system does not tell (Linux does).

    Raises:
        RunFailure: where the step's process failed.
    """
    if not _CLEAR.exists():
        return None
    command = [sys.executable, "-m", "pipeline.bench.memory", network, str(batch_size), contender]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["killed"])[-1]
        raise RunFailure(f"peak memory of {contender}: its process ended with {done.returncode}: {last}")
    return int(done.stdout)


def _measure(network: str, batch_size: int, name: str) -> int:
    device, space = torch.device("cpu"), named_space(network)
    contender = build(name, space, sandwich_plan(space), initial_weights(space), device)
    # Momentum, and what libraries load and allocate once.
    few, their_labels = batch(space, 2, device)
    contender.step(contender.lay_out(few), their_labels)
    images, labels = batch(space, batch_size, device)
    images = contender.lay_out(images)
    gc.collect()
    _CLEAR.write_text("5", encoding="utf-8")  # the peak is counted from here
    before = _kilobytes("VmRSS")
    contender.step(images, labels)
    return 1024 * (_kilobytes("VmHWM") - before)


def _kilobytes(key: str) -> int:
    line = next(line for line in _STATUS.read_text(encoding="utf-8").splitlines() if line.startswith(f"{key}:"))
    return int(line.split()[1])


if __name__ == "__main__":
    print(_measure(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
