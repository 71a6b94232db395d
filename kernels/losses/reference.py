"""Losses in plain PyTorch: the truth that every faster implementation is compared with."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def soft_cross_entropy(logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """τ² · CE(softmax(teacher/τ), softmax(logits/τ)), mean over the batch; logits [N, classes]."""
    target = F.softmax(teacher_logits / temperature, dim=1)
    log_probabilities = F.log_softmax(logits / temperature, dim=1)
    return -(temperature**2) * torch.sum(target * log_probabilities, dim=1).mean()


def alpha_divergence(
    logits: Tensor, teacher_logits: Tensor, temperature: float, alphas: tuple[float, float], clip: float
) -> Tensor:
    """AlphaNet's adaptive loss (Wang et al., ICML 2021, §3), times τ², mean over the batch.

    With p the teacher's and q the network's soft labels, each sample has the surrogate −Σ sg[q·ρ] ln q of one
    D_α(p, q), whose gradient is D_α's own where nothing is clipped: of `alphas` the first where its divergence is
    strictly greater, else the second. The value is the surrogate's, not the divergence's: it may be negative.

    Args:
        logits, teacher_logits: [N, classes], divided by τ. The teacher gets no gradient.
        clip: β, what (p/q)^α is at most; see `divergence`.
    """
    log_p = F.log_softmax(teacher_logits.detach() / temperature, dim=1)
    log_q = F.log_softmax(logits / temperature, dim=1)
    (first, of_first), (second, of_second) = (divergence(log_p, log_q.detach(), alpha, clip) for alpha in alphas)
    weights = torch.where((first > second)[:, None], of_first, of_second)
    return -(temperature**2) * torch.sum(weights * log_q, dim=1).mean()


def divergence(log_p: Tensor, log_q: Tensor, alpha: float, clip: float) -> tuple[Tensor, Tensor]:
    """D_α(p, q) of each sample [N], and the factors q·ρ [N, classes] of −ln q in its surrogate.

    For α but 0 and 1: with w = min((p/q)^α, clip), D = Σ q (w − 1) / (α(α − 1)) and ρ = w/α + 1/(α(α − 1)). For α = 1,
    not clipped: D = Σ p ln(p/q), ρ = p/q. For α = 0, p/q clipped: D = −Σ q ln(p/q), ρ = ln(p/q) − 1.

    Args:
        log_p, log_q: [N, classes], of probabilities. Powers are taken of logarithms, clipped: none overflows.
    """
    ratio, q = log_p - log_q, log_q.exp()
    if alpha == 1:
        p = log_p.exp()
        return torch.sum(p * ratio, dim=1), p
    if alpha == 0:
        ratio = ratio.clamp(max=math.log(clip))
        return -torch.sum(q * ratio, dim=1), q * (ratio - 1)
    power, scale = (alpha * ratio).clamp(max=math.log(clip)).exp(), alpha * (alpha - 1)
    return torch.sum(q * (power - 1), dim=1) / scale, q * (power / alpha + 1 / scale)
