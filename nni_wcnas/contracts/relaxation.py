"""The axis relaxation: how logits become mixing weights."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor

from nni_wcnas.contracts.cell import CellLayout
from nni_wcnas.contracts.moment import Moment

__all__ = ['Weighting']


class Weighting(ABC):
    """How logits become mixing weights: the heart of a relaxation.

    A logit of minus infinity marks a candidate that was pruned: its weight is 0, and its gradient 0.
    """

    is_stochastic: bool = False
    """Whether it draws random numbers: a new moment is then made for each architecture step and each weight step."""
    on_simplex: bool = True
    """Whether each row of weights is a distribution, so that a smoothing can perturb it."""
    is_twice_differentiable: bool = True
    """Whether Hessians in the logits can be taken. Products with weights, as in ``Unrolled``, differentiate in them
    once."""
    is_penalised: bool = False
    """Whether :meth:`penalty` is part of the architecture's loss."""
    is_sparse: bool = False
    """Whether many weights are exactly zero and have no gradient: these operations are not computed then."""
    needs_cells: bool = False
    """Whether it works on cells alone, not on single layer choices."""

    @abstractmethod
    def weights(self, alpha: Tensor, moment: Moment) -> Tensor:
        """Map logits of shape ``(E, K)`` to mixing weights of shape ``(E, K)``; the same moment gives the same
        weights."""

    def strengths(self, alpha: Tensor, moment: Moment) -> Tensor:
        """Return what a selection sees, shape ``(E, K)``: by default the weights, without randomness."""
        return self.weights(alpha, moment)

    def penalty(self, alpha: Tensor, layout: CellLayout, moment: Moment) -> Tensor:
        """Return what the architecture pays beside its loss for one type of cell, a scalar."""
        # By default nothing is charged; a scalar of the logits' device and type, so that it can be added to others.
        del layout, moment  # Unused: there is no penalty.
        return alpha.new_zeros(())
