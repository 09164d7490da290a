"""Softmax: the continuous relaxation of DARTS.

Each edge mixes its K candidate operations with weights softmax(alpha). Deterministic, no extra cost, no state.

    mixed(x) = sum_k softmax(alpha)_k op_k(x)

Acts in every forward pass. ``Search(relaxation=Softmax())`` is DARTS. No deviations.

References
----------
Liu, Simonyan, Yang, "DARTS: Differentiable Architecture Search", ICLR 2019, equation 2.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nni_wcnas.contracts import Moment, Weighting

__all__ = ['Softmax']


@dataclass(frozen=True)
class Softmax(Weighting):
    """Mixing weights are the softmax of the logits.

    Examples
    --------
    >>> Softmax().weights(torch.zeros(1, 4), Moment())
    tensor([[0.2500, 0.2500, 0.2500, 0.2500]])
    """

    def weights(self, alpha: Tensor, moment: Moment) -> Tensor:
        """Return the row-wise softmax of ``alpha``, shape ``(E, K)``."""
        del moment  # Unused: the weights are the same at any time.
        # A pruned candidate has the logit minus infinity, so its weight and its gradient are exactly 0.
        return torch.softmax(alpha, dim=-1)
