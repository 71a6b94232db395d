"""torch's SGD as it is without `torch.compile`, whose import takes as long as that of all the rest of torch.

torch wraps methods of its optimizers so that a compiled program leaves them out. Each of these imports torch._dynamo,
and with it sympy and Triton, when it is first called. Optimizers are not compiled here, so they do without.
"""

from __future__ import annotations

import inspect

import torch


class EagerSGD(torch.optim.SGD):
    """`torch.optim.SGD`, bit by bit, with step hooks and all; what was wrapped for compilation is unwrapped.

    Of a torch that wraps nothing, it is the class itself.
    """

    add_param_group = inspect.unwrap(torch.optim.SGD.add_param_group)
    zero_grad = inspect.unwrap(torch.optim.SGD.zero_grad)
    # Its wrapper is also what does without gradients of the update.
    step = torch.no_grad()(inspect.unwrap(torch.optim.SGD.step))
