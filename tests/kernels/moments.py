"""What the moments of every backend must be exact enough for."""

import torch
import torch.nn.functional as F

from kernels.operations import Operations


def assert_the_variance_survives_a_mean_far_larger_than_it(operations: Operations, device: str) -> None:
    """Sum of squares less square of the sum: in float32 nothing would be left of a variance of 1e-4 beside 1e6."""
    noise = torch.randn(4, 1, 63, 9, generator=torch.Generator().manual_seed(0)) / 128
    x = (1000 + noise).to(device).contiguous(memory_format=torch.channels_last)
    exact_scale = x.double().var(unbiased=False).rsqrt()
    one, zero = torch.ones(1, device=device), torch.zeros(1, device=device)
    kernel = one.view(1, 1, 1, 1)
    for convolved in (
        operations.pointwise_conv(x, kernel, 1),
        operations.depthwise_conv(x, F.pad(kernel, [1] * 4), 3, 1, {}),
    ):
        y = operations.batch_norm(convolved, one, zero, None, True, 0.1, 0.0, "identity")
        torch.testing.assert_close(y.scale.double(), exact_scale[None], rtol=1e-4, atol=0)
