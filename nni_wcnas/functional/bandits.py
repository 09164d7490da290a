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
    """Return the probabilities of a draw, p_i proportional to exp(temperature hardness_i / mean hardness).

    Parameters
    ----------
    hardness
        Hardness of each example, not negative, shape ``(N,)``.
    temperature
        How much the hardest are preferred; 0 prefers none.

    Returns
    -------
    Probabilities, shape ``(N,)``; equal ones where no example has any hardness.
    """
    mean = hardness.mean()
    # The softmax of hardness over its mean, so that the temperature has the same meaning for every loss. The clamp
    # keeps 0 / 0 out where nothing is hard: the logits are then all 0.
    return (temperature * hardness / mean.clamp(min=torch.finfo(hardness.dtype).tiny)).softmax(0)


def drawn(p: Tensor, count: int) -> Tensor:
    """Draw ``count`` examples without replacement, by probabilities ``p`` of shape ``(N,)``.

    Random numbers come from torch's global state on the processor, whatever the device of ``p``.

    Returns
    -------
    Ones for the drawn examples and zeros for the others, shape ``(N,)``.
    """
    # The Gumbel trick: the count largest of log p_i + g_i, with standard Gumbel g_i = -log(exponential), are
    # distributed like successive draws without replacement.
    noise = -torch.empty(len(p), dtype=p.dtype).exponential_().log()
    # An example of probability 0 comes last, but can be drawn where too few others are left.
    chosen = (p.clamp(min=1e-30).log() + noise.to(p.device)).topk(count).indices
    return torch.zeros_like(p).index_fill(0, chosen, 1.0)


def optimistic(mean: Tensor, count: Tensor, episode: int, scale: float = 1e-3) -> Tensor:
    """Return upper confidence bounds of hardness, r_i = mean_i + scale mean(mean) sqrt(2 ln episode / count_i).

    Parameters
    ----------
    mean
        Mean hardness of each example, shape ``(N,)``.
    count
        How often each example was drawn, shape ``(N,)``, at least 1.
    episode
        Number of the episode, counted from 1.
    scale
        Factor of the bonus for rarely drawn examples, in units of the mean hardness of all.

    Returns
    -------
    The bounds, shape ``(N,)``.
    """
    # The bonus is largest for what was rarely drawn, and grows slowly for all, so that none is forgotten. The default
    # scale is that of the authors' code (tianyizhou/DIHCL, dihcl.py).
    return mean + scale * mean.mean() * math.sqrt(2 * math.log(episode)) / count.sqrt()
