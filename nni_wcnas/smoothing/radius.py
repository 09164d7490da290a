"""The base of SmoothDARTS's perturbations: a radius that grows with the epochs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nni_wcnas.contracts import Moment, Smoothing
from nni_wcnas.errors import InvalidArgument
from nni_wcnas.functional.simplex import to_simplex

__all__ = ['GrowingRadius']


@dataclass(frozen=True)
class GrowingRadius(Smoothing):
    """A perturbation that changes each mixing weight by at most ``radius(moment)``, before its way back to the simplex.

    Parameters
    ----------
    epsilon
        Radius at the end of the search, in probability.
    initial
        Radius at the start of the search.

    Raises
    ------
    ValueError
        When a radius is not a probability, or would shrink.
    """

    epsilon: float = 0.3
    initial: float = 0.03

    def __post_init__(self) -> None:
        if not 0 < self.epsilon <= 1:
            raise InvalidArgument('epsilon', self.epsilon, 'be above 0 and at most 1, as 0.3')
        if not 0 <= self.initial <= self.epsilon:
            raise InvalidArgument('initial', self.initial, f'be at least 0 and at most epsilon ({self.epsilon})')

    def radius(self, moment: Moment) -> float:
        """Return the radius of a moment: linear, from ``initial`` up to one step short of ``epsilon``."""
        # r = initial + (epsilon - initial) e / E for the epochs e = 0 ... E - 1, as in the
        # official code: 0.2946 in the last of 50 epochs.
        return self.initial + (self.epsilon - self.initial) * moment.age / moment.span

    def around(self, weights: Tensor, radius: float) -> Tensor:
        """Return random weights near others, drawn from torch's global state on the processor whatever the device."""
        # On the processor, so that one seed gives the same perturbations on a CPU and on a GPU.
        noise = torch.empty(weights.shape).uniform_(-radius, radius)
        return to_simplex(weights + noise.to(weights), weights)
