"""Losses in plain PyTorch: the truth that every faster implementation is compared with."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def soft_cross_entropy(logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """τ² · CE(softmax(teacher/τ), softmax(logits/τ)), mean over the batch; logits [N, classes]."""
    target = F.softmax(teacher_logits / temperature, dim=1)
    log_probabilities = F.log_softmax(logits / temperature, dim=1)
    return -(temperature**2) * torch.sum(target * log_probabilities, dim=1).mean()
