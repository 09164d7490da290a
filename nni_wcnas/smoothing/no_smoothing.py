"""NoSmoothing: the weights learn under the architecture as it is. Costs nothing; the neutral member of its axis."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from torch import Tensor

from nni_wcnas.contracts import Parameters, Smoothing

__all__ = ['NoSmoothing']


@dataclass(frozen=True)
class NoSmoothing(Smoothing):
    """Leave the architecture alone during the weight step."""

    def applied(self, alphas: Parameters, loss: Callable[[Parameters], Tensor]) -> AbstractContextManager[None]:
        """A context that changes nothing."""
        del alphas, loss  # Unused: there is no perturbation.
        return nullcontext()
