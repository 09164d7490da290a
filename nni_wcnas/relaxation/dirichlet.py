"""Dirichlet: the mixing weights of an edge are a draw from a Dirichlet distribution that is learned.

What is learned is not one mixture but how mixtures are distributed, so the search explores; the gradient goes through
the sample. An anchor keeps the distribution near the uniform one over all mixtures.

    beta = elu(alpha) + 1        weights ~ Dir(beta)        penalty = scale * sum over edges of KL(Dir(beta) || Dir(1))

Acts in every forward pass, validation included; a new sample for each architecture step and each weight step, one for
all cells of a type. No extra cost. A selection sees softmax(alpha).

``Search(relaxation=Dirichlet())`` is DrNAS's search: there the weight decay of the architecture's optimiser
(``arc_weight_decay=1e-3``) is the anchor, as alpha = 0 is Dir(1). With the divergence instead,
``Search(relaxation=Dirichlet(anchor='kl'), arc_weight_decay=0.0)``. An unrolled hypergradient holds the sample,
which has no second derivative: there are no Hessians in alpha.

Deviations: the divergence of an edge counts the candidates that are left, where the published code counts pruned ones
as beta = 1; validation sees the last sample of the training epoch, where the published code draws one for each batch.

References
----------
Chen, Wang, Cheng, Tang, Hsieh, "DrNAS: Dirichlet Neural Architecture Search", ICLR 2021, sections 2.2 and 2.3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from nni_wcnas.contracts import CellLayout, Moment, Weighting
from nni_wcnas.errors import InvalidArgument
from nni_wcnas.functional.dirichlet import concentration, divergence_from_uniform, sampled

__all__ = ['Dirichlet']


@dataclass(frozen=True)
class Dirichlet(Weighting):
    """Mixing weights are a draw from the Dirichlet distribution of concentration elu(alpha) + 1.

    Parameters
    ----------
    anchor
        ``'l2'``: the architecture's weight decay, no penalty here; ``'kl'``: the divergence from Dir(1).
    scale
        Weight of the divergence in the penalty; must stay as it is with ``'l2'``, which has none.

    Examples
    --------
    >>> Dirichlet().weights(torch.zeros(2, 4), Moment()).sum(-1).round()
    tensor([1., 1.])
    """

    anchor: Literal['l2', 'kl'] = 'l2'
    scale: float = 1e-3

    is_stochastic = True
    is_twice_differentiable = False

    def __post_init__(self) -> None:
        if self.anchor not in ('l2', 'kl'):
            raise InvalidArgument('anchor', self.anchor, "be 'l2' (weight decay) or 'kl' (a penalty)")
        if self.anchor == 'l2' and self.scale != 1e-3:
            raise InvalidArgument(
                'scale', self.scale, "leave it out, or take anchor='kl'", reason="does nothing with anchor='l2'"
            )
        if not 0 < self.scale < math.inf:
            raise InvalidArgument('scale', self.scale, "be positive and finite, or anchor be 'l2' for no penalty")

    @property
    def is_penalised(self) -> bool:  # type: ignore[override]  # the contract's default is a plain value
        """Whether the anchor is a penalty."""
        return self.anchor == 'kl'

    def weights(self, alpha: Tensor, moment: Moment) -> Tensor:
        """Draw mixing weights from Dir(elu(alpha) + 1), shape ``(E, K)``; their gradient goes through the sample."""
        # Concentrations, shape (E, K): 1 at alpha = 0, above 0 everywhere, and 0 for
        # a pruned candidate, whose weight is 0.
        return sampled(concentration(alpha), moment.generator(alpha.device))

    def strengths(self, alpha: Tensor, moment: Moment) -> Tensor:
        """Return softmax(alpha), shape ``(E, K)``, by which DrNAS derives its cells."""
        del moment  # Unused: nothing is drawn.
        return torch.softmax(alpha, dim=-1)

    def penalty(self, alpha: Tensor, layout: CellLayout, moment: Moment) -> Tensor:
        """Return the scaled divergence of all edges from Dir(1); zero with ``'l2'``."""
        if not self.is_penalised:
            return super().penalty(alpha, layout, moment)
        # One divergence for each edge, shape (E,).
        return self.scale * divergence_from_uniform(concentration(alpha)).sum()
