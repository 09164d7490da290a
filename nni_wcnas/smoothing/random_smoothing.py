"""RandomSmoothing: the weights learn under a randomly perturbed architecture, SDARTS-RS.

    weights + uniform(-r, r), back to the simplex;      r = initial + (epsilon - initial) epoch / epochs

Weights that do well around the architecture, and not at it alone, keep the validation loss flat in A, so that the cell
that is read off is worth what its supernet was. Acts in the weight step only; costs nothing.

References
----------
Chen, Hsieh, "Stabilizing Differentiable Architecture Search via Perturbation-based Regularization", ICML 2020,
equation 4.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from nni_wcnas.contracts import Moment, Parameters
from nni_wcnas.smoothing.radius import GrowingRadius

__all__ = ['RandomSmoothing']


@dataclass(frozen=True)
class RandomSmoothing(GrowingRadius):
    """Perturb mixing weights by uniform noise.

    Parameters
    ----------
    epsilon
        Radius at the end of the search, in probability.
    initial
        Radius at the start of the search.
    """

    def perturbed(self, weights: Parameters, loss: Callable[[Parameters], Tensor], moment: Moment) -> Parameters:
        """Return random weights near the given ones, on the simplex."""
        del loss  # Unused: the direction is random.
        radius = self.radius(moment)
        # Each label draws its own noise, once for this weight step; all cells of a type share it.
        return {label: self.around(value, radius) for label, value in weights.items()}
