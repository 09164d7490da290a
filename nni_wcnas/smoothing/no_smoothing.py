"""NoSmoothing: the weights learn under the architecture as it is. Costs nothing; the neutral member of its axis."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from nni_wcnas.contracts import Moment, Parameters, Smoothing

__all__ = ['NoSmoothing']


@dataclass(frozen=True)
class NoSmoothing(Smoothing):
    """Leave the architecture alone during the weight step."""

    perturbs = False

    def perturbed(self, weights: Parameters, loss: Callable[[Parameters], Tensor], moment: Moment) -> None:
        """Return None: the architecture stays as it is."""
        del weights, loss, moment  # Unused: there is no perturbation.
