"""AdversarialSmoothing: the weights learn under the architecture that is worst for them nearby, SDARTS-ADV.

    max L_tr(w, weights + d)    over |d| <= r,      r = initial + (epsilon - initial) epoch / epochs

by ``steps`` steps of sign gradient ascent of 2 r / steps from a random start, back to the ball and the simplex after
each; when the loss of the batch has not risen, the architecture is left alone. Acts in the weight step only; costs
``steps`` backward and two forward passes through the supernet for each batch. Deviation: the attack normalises by the
statistics of the batch and moves none, where the official code uses running statistics.

References
----------
Chen, Hsieh, "Stabilizing Differentiable Architecture Search via Perturbation-based Regularization", ICML 2020,
equations 5-6; xiangning-chen/SmoothDARTS d3dbfed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from nni_wcnas.contracts import Moment, Parameters
from nni_wcnas.errors import InvalidArgument
from nni_wcnas.functional.simplex import to_simplex
from nni_wcnas.smoothing.radius import GrowingRadius

__all__ = ['AdversarialSmoothing']


@dataclass(frozen=True)
class AdversarialSmoothing(GrowingRadius):
    """Perturb mixing weights by projected gradient ascent.

    Parameters
    ----------
    epsilon
        Radius at the end of the search, in probability.
    initial
        Radius at its start.
    steps
        Number of steps of the ascent.

    Raises
    ------
    ValueError
        When ``steps`` is below 1.
    """

    steps: int = 7

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps < 1:
            raise InvalidArgument('steps', self.steps, 'be at least 1')

    def perturbed(self, weights: Parameters, loss: Callable[[Parameters], Tensor], moment: Moment) -> Parameters | None:
        """Return the weights at the end of the ascent; None where the loss of the batch has not risen."""
        radius = self.radius(moment)
        # A random start in the ball, as in the official code's attack.
        attacked = {label: self.around(value, radius) for label, value in weights.items()}
        for _ in range(self.steps):
            attacked = self._ascend(attacked, weights, loss, radius)
        # Two passes without graphs. An attack that did not raise the loss is thrown away, as the official code does.
        with torch.no_grad():
            return attacked if loss(attacked) > loss(weights) else None

    def _ascend(
        self,
        attacked: Parameters,
        weights: Parameters,
        loss: Callable[[Parameters], Tensor],
        radius: float,
    ) -> Parameters:
        """Return the mixing weights one step of sign ascent further, back in the ball and on the simplex."""
        leaves = {label: value.detach().requires_grad_() for label, value in attacked.items()}
        # Labels that the loss does not depend on get zeros instead of None.
        with torch.enable_grad():
            gradients = torch.autograd.grad(loss(leaves), list(leaves.values()), materialize_grads=True)
        moved: Parameters = {}
        for (label, value), gradient in zip(attacked.items(), gradients):
            original = weights[label]
            # Steps of 2 r / steps can cross the ball of radius r. Ball first, simplex second: dividing by the row's sum
            # may leave the ball a little, as in the official code.
            step = value + 2 * radius / self.steps * gradient.sign()
            moved[label] = to_simplex(step.clamp(original - radius, original + radius), original)
        return moved
