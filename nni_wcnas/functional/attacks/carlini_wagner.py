"""The attack of Carlini and Wagner: the nearest pixels, in Euclidean distance, that a network errs on.

For pixels x in [0, 1] with label y and logits z, with c chosen for each image by a search::

    x'(w)   = (tanh(w) + 1) / 2                                     so that every w gives pixels in [0, 1]
    gap(x') = z_y(x') - max of the other z(x') + confidence         below 0: the network errs, by the confidence
    min_w     |x'(w) - x|^2 + c max(gap(x'(w)), 0)                  by Adam, from w with x'(w) = x
    c       * 10 until the first success, then half-way between the largest that failed and the smallest that did not

The result is the nearest x' with gap < 0 that was met anywhere on the way. Each image is attacked by itself, whatever
the others are. Cost: ``searches`` times ``steps`` forward and backward passes, fewer with ``abort_early``.

Reference: Carlini, Wagner, "Towards Evaluating the Robustness of Neural Networks", IEEE S&P 2017, section VI.A.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from nni_wcnas.errors import InvalidArgument

__all__ = ['carlini_wagner']

_INSIDE = 0.999999
"""Shrinks [-1, 1] so that black and full pixels have a finite w."""
_CHECKS = 10
"""Number of times that the progress of one minimisation is checked."""
_PROGRESS = 0.9999
"""Factor that the loss must fall by between two checks, for a minimisation to go on."""


def carlini_wagner(
    model: Callable[[Tensor], Tensor],
    pixels: Tensor,
    labels: Tensor,
    *,
    confidence: float = 0.0,
    searches: int = 9,
    steps: int = 1000,
    step_size: float = 0.01,
    initial_weight: float = 1e-3,
    abort_early: bool = True,
) -> Tensor:
    """Find, for each image, the nearest pixels that the model errs on.

    Parameters
    ----------
    model
        Maps pixels ``(N, 3, H, W)`` in [0, 1] to logits ``(N, classes)``. It is attacked as it stands, so put it into
        evaluation mode first.
    pixels
        Pixels in [0, 1], shape ``(N, 3, H, W)``.
    labels
        The true classes, shape ``(N,)``.
    confidence
        kappa: by how much another logit must exceed the true one, 0 or more.
    searches
        Number of values of c that are tried, at least 1.
    steps
        Largest number of steps of Adam for each c, at least 1.
    step_size
        Adam's learning rate.
    initial_weight
        The first c.
    abort_early
        Whether an image stops for a c when its loss has not fallen by 0.01 % in a tenth of the steps.

    Returns
    -------
    Tensor
        The nearest adversarial pixels, in [0, 1], detached; an image for which none was found is returned as it was.

    Raises
    ------
    ValueError
        If a number is out of range.

    Examples
    --------
    >>> pixels, labels = torch.tensor([[0.7, 0.3]]), torch.tensor([0])
    >>> carlini_wagner(lambda x: x, pixels, labels, searches=5, steps=200).round(decimals=2)
    tensor([[0.5000, 0.5000]])
    """
    if not 0 <= confidence < math.inf:
        raise InvalidArgument('confidence', confidence, 'be 0 or more and finite')
    for name, value in (('searches', searches), ('steps', steps)):
        if value < 1:
            raise InvalidArgument(name, value, 'be at least 1')
    for name, number in (('step_size', step_size), ('initial_weight', initial_weight)):
        if not 0 < number < math.inf:
            raise InvalidArgument(name, number, 'be above 0 and finite')
    minimisation = _Minimisation(model, pixels.detach(), labels, confidence, steps, step_size, abort_early)
    weight = pixels.new_full((len(pixels),), initial_weight)
    low, high = torch.zeros_like(weight), torch.full_like(weight, math.inf)
    for _ in range(searches):
        succeeded = minimisation.run(weight)
        # Success bounds c from above, failure from below; until the first success there is no upper bound.
        low, high = torch.where(succeeded, low, weight), torch.where(succeeded, weight, high)
        weight = torch.where(high.isinf(), 10 * weight, (low + high) / 2)
    return minimisation.nearest


@dataclass
class _Minimisation:
    """The minimisation by Adam, for one c after the other; it remembers the nearest adversarial pixels of all.

    The fields are arguments of :func:`carlini_wagner`; ``nearest`` is the result so far.
    """

    model: Callable[[Tensor], Tensor]
    pixels: Tensor
    labels: Tensor
    confidence: float
    steps: int
    step_size: float
    abort_early: bool

    def __post_init__(self) -> None:
        self.nearest = self.pixels.clone()
        self.distance = self.pixels.new_full((len(self.pixels),), math.inf)
        # w with x'(w) = x. atanh is infinite at black and full pixels, hence the shrinking; distances in the loss are
        # from the shrunk pixels, so that they begin at 0, and those of the result from the true ones.
        self._start = ((2 * self.pixels - 1) * _INSIDE).atanh()
        self._origin = _to_pixels(self._start)

    def run(self, weight: Tensor) -> Tensor:
        """Minimise with one c for each image, shape ``(N,)``; return for which images any step was adversarial."""
        # Each c starts anew at the image, with moments of its own. Adam acts on each number by itself, so images stay
        # independent.
        shift = torch.zeros_like(self._start).requires_grad_()
        optimizer = torch.optim.Adam([shift], lr=self.step_size)
        succeeded = torch.zeros_like(self.labels, dtype=torch.bool)
        running, previous = ~succeeded, torch.full_like(weight, math.inf)
        for step in range(self.steps):
            with torch.enable_grad():
                candidates = _to_pixels(self._start + shift)
                gap = _gap(self.model(candidates), self.labels) + self.confidence
                losses = (candidates - self._origin).square().flatten(1).sum(1) + weight * gap.clamp(min=0)
                # The gradient in the shift alone: the model's parameters get none.
                (shift.grad,) = torch.autograd.grad(losses.sum(), shift)
            optimizer.step()
            # The first check, at step 0, only sets the mark: the loss before it counts as infinite.
            if self.abort_early and step % math.ceil(self.steps / _CHECKS) == 0:
                running, previous = running & (losses.detach() <= _PROGRESS * previous), losses.detach()
                if not running.any():
                    break
            adversarial = running & (gap.detach() < 0)
            self._remember(candidates.detach(), adversarial)
            succeeded |= adversarial
        return succeeded

    def _remember(self, candidates: Tensor, adversarial: Tensor) -> None:
        """Keep adversarial candidates that are nearer than all before."""
        distance = (candidates - self.pixels).flatten(1).norm(dim=1)
        is_nearer = adversarial & (distance < self.distance)
        self.distance = torch.where(is_nearer, distance, self.distance)
        self.nearest[is_nearer] = candidates[is_nearer]


def _to_pixels(unbounded: Tensor) -> Tensor:
    """Return x'(w), pixels in [0, 1] for any w."""
    return (unbounded.tanh() + 1) / 2


def _gap(logits: Tensor, labels: Tensor) -> Tensor:
    """Return by how much the true logit exceeds the largest other one, shape ``(N,)``."""
    # (N, classes), with one true entry in each row: indexing by it keeps the order of the rows.
    is_true = torch.zeros_like(logits, dtype=torch.bool).scatter_(1, labels[:, None], True)
    return logits[is_true] - logits.masked_fill(is_true, -math.inf).amax(1)
