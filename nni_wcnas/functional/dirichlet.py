"""Dirichlet distributions over the candidates of an edge: concentration, sample, divergence.

A concentration of exactly zero marks a candidate that was pruned. The Dirichlet distribution restricted to the others
and normalised is the Dirichlet distribution of their concentrations, so pruning is exact.

References
----------
Chen et al., "DrNAS: Dirichlet Neural Architecture Search", ICLR 2021, section 2; Figurnov, Mohamed, Mnih, "Implicit
Reparameterization Gradients", NeurIPS 2018, section 4.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ['concentration', 'divergence_from_uniform', 'sampled']

_SMALLEST = 1e-290
"""Smallest value of a gamma variable in double precision: the sum that it is divided by stays above 0."""


def concentration(alpha: Tensor) -> Tensor:
    """Return elu(alpha) + 1, which is exp(alpha) below zero and alpha + 1 above.

    Not computed as written, which rounds to zero below -17 in single precision; minus infinity gives exactly zero.

    Parameters
    ----------
    alpha
        Logits of any shape; minus infinity for a candidate that was pruned.

    Returns
    -------
    Concentrations of the same shape, positive wherever ``alpha`` is finite.

    Examples
    --------
    >>> concentration(torch.tensor([-torch.inf, 0.0, 2.0]))
    tensor([0., 1., 3.])
    """
    # Both branches of where() are computed. Without the mask, exp would overflow for a large alpha in the branch that
    # is thrown away, and its gradient of 0 times infinity would be NaN.
    above = alpha > 0
    return torch.where(above, alpha + 1, alpha.masked_fill(above, 0.0).exp())


def sampled(concentration: Tensor, generator: torch.Generator) -> Tensor:
    """Draw once from the Dirichlet distribution of each row, with a pathwise gradient.

    The draw is a row of gamma variables divided by their sum. They are in double precision: with small concentrations,
    nearly all of them are so close to zero that single precision cannot tell them apart.

    Parameters
    ----------
    concentration
        beta, shape ``(E, K)``, at least zero; each row has a positive entry.
    generator
        Source of the random numbers, on the same device.

    Returns
    -------
    The draws, shape ``(E, K)``; rows sum to one. Once differentiable.
    """
    absent = concentration == 0
    # Differentiable by implicit reparameterization (Figurnov et al., section 4). The private function takes a
    # generator, which torch.distributions does not. A pruned candidate gets a valid concentration, and loses what it
    # drew.
    gamma = torch._standard_gamma(concentration.masked_fill(absent, 1.0).double(), generator=generator)
    # Even double precision underflows at concentrations near 0; where all of a row do, 0 / 0 would follow.
    gamma = gamma.clamp(min=_SMALLEST).masked_fill(absent, 0.0)
    return (gamma / gamma.sum(-1, keepdim=True)).to(concentration.dtype)


def divergence_from_uniform(concentration: Tensor) -> Tensor:
    """Return KL(Dir(beta) || Dir(1)) of each row, over the K candidates of the row that are not pruned.

    ::

        lgamma(sum beta) - sum lgamma(beta_k) - lgamma(K) + sum (beta_k - 1) (digamma(beta_k) - digamma(sum beta))

    Parameters
    ----------
    concentration
        beta, shape ``(E, K)``, at least zero; each row has a positive entry.

    Returns
    -------
    The divergences, shape ``(E,)``, at least zero; differentiable.

    Examples
    --------
    >>> divergence_from_uniform(torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, 1.0]]))
    tensor([0., 0.])
    """
    absent = concentration == 0
    total = concentration.masked_fill(absent, 0.0).sum(-1)
    count = (~absent).sum(-1).to(total.dtype)
    beta = concentration.masked_fill(absent, 1.0)  # lgamma(1) = 0: these terms vanish
    scores = (beta - 1) * (beta.digamma() - total.digamma().unsqueeze(-1))
    return total.lgamma() - beta.lgamma().sum(-1) - count.lgamma() + scores.sum(-1)
