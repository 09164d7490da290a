"""GumbelSoftmax: mixing weights are a random, nearly discrete choice whose randomness fades into one operation.

Each row is a sample of the concrete distribution. Hot, it is nearly uniform whatever the logits; cold, it is nearly
one-hot, the operation drawn with probability softmax(alpha), so the gap between the mixture and a single operation
closes during the search.

    weights = softmax((log softmax(alpha) + g) / temperature),    g = -log(-log(u)), u uniform

The temperature falls linearly over the epochs of a stage. Acts in every forward pass; a new sample for each
architecture step and each weight step, one for all cells of a type. No extra cost. A selection sees softmax(alpha).
``Search(relaxation=GumbelSoftmax())``; first-order hypergradients only, as all stochastic relaxations.

Deviations: SNAS gives no temperatures; 10 to 0.1 are GDAS's, which draws a hard choice.

References
----------
Jang, Gu, Poole, "Categorical Reparameterization with Gumbel-Softmax", ICLR 2017, equation 2; Xie et al., "SNAS:
Stochastic Neural Architecture Search", ICLR 2019, equation 6; Dong and Yang, "Searching for a Robust Neural
Architecture in Four GPU Hours", CVPR 2019.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from nni_wcnas.contracts import Moment, Weighting

__all__ = ['GumbelSoftmax']


@dataclass(frozen=True)
class GumbelSoftmax(Weighting):
    """Mixing weights are a sample of the concrete distribution of the logits.

    Parameters
    ----------
    initial_temperature, final_temperature
        In the first and in the last epoch of a stage; positive.

    Examples
    --------
    >>> GumbelSoftmax().temperature(Moment(epoch=49, epochs=50))
    0.1
    """

    initial_temperature: float = 10.0
    final_temperature: float = 0.1

    is_stochastic = True

    def __post_init__(self) -> None:
        for name in ('initial_temperature', 'final_temperature'):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f'{name} must be positive and finite, as 10 or 0.1, not {getattr(self, name)}')

    def temperature(self, moment: Moment) -> float:
        """At a moment."""
        return (1 - moment.progress) * self.initial_temperature + moment.progress * self.final_temperature

    def weights(self, alpha: Tensor, moment: Moment) -> Tensor:
        """A sample, shape ``(E, K)``."""
        noise = torch.empty_like(alpha).exponential_(generator=moment.generator(alpha.device)).log().neg()
        return torch.softmax((alpha.log_softmax(-1) + noise) / self.temperature(moment), dim=-1)

    def strengths(self, alpha: Tensor, moment: Moment) -> Tensor:
        """The probability of each operation: softmax(alpha), shape ``(E, K)``."""
        del moment  # Unused: probabilities have no temperature.
        return torch.softmax(alpha, dim=-1)
