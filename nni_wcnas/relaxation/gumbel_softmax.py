"""GumbelSoftmax: mixing weights are a random, nearly discrete choice whose randomness fades into one operation.

Each row is a sample of the concrete distribution. Hot, it is nearly uniform whatever the logits; cold, it is nearly
one-hot, the operation drawn with probability softmax(alpha), so the gap between the mixture and a single operation
closes during the search.

    w       = softmax((log softmax(alpha) + g) / temperature),    g = -log(-log(u)), u uniform
    weights = w
    weights = 1 + (w_h - w_h held constant) for h = argmax w, else 0, with ``hard``

The temperature falls linearly from the epoch in which the weights begin to the last one that searches with them, over
all stages that go on with them. Acts in every forward pass; a new sample for each architecture step and each weight
step, one for all cells of a type. A selection sees softmax(alpha).

``Search(relaxation=GumbelSoftmax())`` is SNAS's search, at no extra cost.

``Search(relaxation=GumbelSoftmax(hard=True))`` is GDAS's: one operation on each edge is drawn, with probability
softmax(alpha) at any temperature, and nothing else is computed, which makes a step several times cheaper. The gradient
goes straight through w_h, and by its softmax to all logits of the edge. No smoothing and no ``Projected``, as there is
no mixture.

Deviations: SNAS gives no temperatures; 10 to 0.1 are GDAS's. GDAS's code adds the zeros of what was not drawn to the
edge as plain numbers, whose gradient (the sum of that by the edge's output) is left out here, and draws again when a
network's output is zero. Weights of what was not drawn rest, where its optimiser goes on with their momentum and decay.

References
----------
Jang, Gu, Poole, "Categorical Reparameterization with Gumbel-Softmax", ICLR 2017, equation 2; Xie et al., "SNAS:
Stochastic Neural Architecture Search", ICLR 2019, equation 6; Dong and Yang, "Searching for a Robust Neural
Architecture in Four GPU Hours", CVPR 2019, section 3.2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from nni_wcnas.contracts import Moment, Weighting
from nni_wcnas.errors import InvalidArgument
from nni_wcnas.functional.relaxed_choices import chosen

__all__ = ['GumbelSoftmax']


@dataclass(frozen=True)
class GumbelSoftmax(Weighting):
    """Mixing weights are a sample of the concrete distribution of the logits.

    Parameters
    ----------
    initial_temperature, final_temperature
        Temperature in the first and in the last epoch of the weights' search, over all stages that go on with them;
        positive.
    hard
        Compute only the operation with the largest weight, with weight 1 and the gradient of its own weight.

    Examples
    --------
    >>> GumbelSoftmax().temperature(Moment(epoch=49, epochs=50))
    0.1
    >>> GumbelSoftmax(hard=True).weights(torch.tensor([[0.0, 99.0], [99.0, 0.0]]), Moment())
    tensor([[0., 1.],
            [1., 0.]])
    """

    initial_temperature: float = 10.0
    final_temperature: float = 0.1
    hard: bool = False

    is_stochastic = True

    def __post_init__(self) -> None:
        for name in ('initial_temperature', 'final_temperature'):
            if not 0 < getattr(self, name) < math.inf:
                raise InvalidArgument(name, getattr(self, name), 'be positive and finite, as 10 or 0.1')

    @property
    def is_sparse(self) -> bool:  # type: ignore[override]  # the contract's default is a plain value
        """Whether one operation of each edge is computed, and no other."""
        return self.hard

    def temperature(self, moment: Moment) -> float:
        """Return the temperature of a moment: from the initial one in the first epoch to the final one in the last."""
        return (1 - moment.progress) * self.initial_temperature + moment.progress * self.final_temperature

    def weights(self, alpha: Tensor, moment: Moment) -> Tensor:
        """Draw mixing weights, shape ``(E, K)``: nearly one-hot ones, or exactly one-hot ones with ``hard``."""
        # -log(x) of an exponential number x is a standard Gumbel number.
        noise = torch.empty_like(alpha).exponential_(generator=moment.generator(alpha.device)).log().neg()
        if not self.hard:
            return torch.softmax((alpha.log_softmax(-1) + noise) / self.temperature(moment), dim=-1)
        # Both of shape (E,). Adding the noise to alpha or to log softmax(alpha) is
        # the same: a constant of each row cancels.
        choice, excess = chosen(alpha, noise, self.temperature(moment))
        # 1 + (w_h - w_h held constant) at the drawn column h: the value is 1, the gradient that of the softmax. Exact
        # zeros elsewhere tell the cell what not to compute.
        return torch.zeros_like(alpha).scatter(-1, choice.unsqueeze(-1), (1 + excess).unsqueeze(-1))

    def strengths(self, alpha: Tensor, moment: Moment) -> Tensor:
        """Return the probability of each operation, softmax(alpha), shape ``(E, K)``."""
        del moment  # Unused: probabilities have no temperature.
        return torch.softmax(alpha, dim=-1)
