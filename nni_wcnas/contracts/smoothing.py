"""The axis smoothing: what the architecture is while the weights learn."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from torch import Tensor

from nni_wcnas.contracts.batch import Parameters
from nni_wcnas.contracts.moment import Moment

__all__ = ['Smoothing']


class Smoothing(ABC):
    """What the architecture is while the weights learn. Acts in the weight step only."""

    perturbs: bool = True
    """Whether it changes anything; False for the member that does nothing."""

    @abstractmethod
    def perturbed(
        self, weights: Parameters, loss: Callable[[Parameters], Tensor], moment: Moment
    ) -> Parameters | None:
        """Return the mixing weights of the weight step.

        Parameters
        ----------
        weights
            Detached mixing weights of shape ``(E, K)`` by label, each row on the simplex. Entries that are exactly
            zero were pruned, and stay zero.
        loss
            Training loss of this batch under other mixing weights, differentiable in them; changes no statistics.
        moment
            The moment of the search, from whose epoch a radius may follow.

        Returns
        -------
        Weights of the same shapes by label; None leaves the architecture as it is.
        """
