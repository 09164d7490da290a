"""Draws without replacement by hardness, and what is known of each example's hardness.

References
----------
Zhou, Wang, Bilmes, "Curriculum Learning by Dynamic Instance Hardness", NeurIPS 2020, section 3.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ['drawn', 'optimistic', 'probabilities']


def probabilities(hardness: Tensor, temperature: float) -> Tensor:
    """p proportional to exp(temperature hardness / mean hardness), shape ``(N,)``.

    Parameters
    ----------
    hardness
        Not negative, shape ``(N,)``; uniform where all are zero.
    temperature
        How much the hardest are preferred.
    """
    mean = hardness.mean()
    return (temperature * hardness / mean.clamp(min=torch.finfo(hardness.dtype).tiny)).softmax(0)


def drawn(p: Tensor, count: int) -> Tensor:
    """Ones for ``count`` examples that are drawn without replacement, zeros for the others, shape ``(N,)``.

    Draws from torch's global state on the processor, whatever the device: the largest of log p plus Gumbel noise are
    such a draw.
    """
    noise = -torch.empty(len(p), dtype=p.dtype).exponential_().log()
    chosen = (p.clamp(min=1e-30).log() + noise.to(p.device)).topk(count).indices
    return torch.zeros_like(p).index_fill(0, chosen, 1.0)


def optimistic(mean: Tensor, count: Tensor, episode: int, scale: float = 1e-3) -> Tensor:
    """Upper confidence bounds of hardness, shape ``(N,)``.

    Parameters
    ----------
    mean
        Mean hardness of each example, shape ``(N,)``.
    count
        How often each was drawn, shape ``(N,)``, at least 1.
    episode
        From 1.
    scale
        Of the bonus, in units of the mean of all.
    """
    return mean + scale * mean.mean() * math.sqrt(2 * math.log(episode)) / count.sqrt()
