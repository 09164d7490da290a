"""How salient each pixel of an image is to a network: how far it moves to change the network's output the most.

A perturbation d of pixels p in [0, 1] keeps |d| <= epsilon and p + d in [0, 1]. It starts at random, as the change of
the output has no gradient at d = 0, and climbs::

    d  <- project(d + step_size sign(grad change(d)))      within epsilon - step_size, steps - 1 times
    d' <- project(d + xi grad change(d))                   within epsilon, once;  xi = step_size / max |grad|
    saliency = |d'| / max |d'|                             for each image

Only the last step has a derivative: that of ``sign`` is zero.

References
----------
Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", ICLR 2018; papers/sanas_supplement,
equation 2, table 7 and appendix L.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from nni_wcnas.functional.hypergradient import gradient

__all__ = ['Ascent', 'ascent', 'output_change', 'saliency']


class Ascent(NamedTuple):
    """The last step of a climb; tensors have the shape of the pixels, unless another is given."""

    start: Tensor
    """d, the perturbation where the last step starts."""
    end: Tensor
    """d', the perturbation where the last step ends."""
    gain: Tensor
    """Derivative of d' by the gradient at d, pixel by pixel: xi, or 0 where the step would have left [0, 1]."""
    change: Tensor
    """Change of the output at d, a scalar."""


def output_change(logits: Tensor, clean: Tensor) -> Tensor:
    """Return l of equation 2: the divergence KL(softmax(clean) || softmax(logits)), summed over the batch.

    Parameters
    ----------
    logits, clean
        Logits of the perturbed images and of the images as they are, shape ``(N, classes)``.

    Examples
    --------
    >>> output_change(torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, 0.0]])).item()
    0.0
    """
    return F.kl_div(F.log_softmax(logits, -1), F.log_softmax(clean, -1), reduction='sum', log_target=True)


def saliency(perturbation: Tensor) -> Tensor:
    """Return |d| of each image divided by the largest |d| of that image, in [0, 1].

    It is zero for an image that was not perturbed.

    Examples
    --------
    >>> saliency(torch.tensor([[-2.0, 1.0], [0.0, 0.0]]))
    tensor([[1.0000, 0.5000],
            [0.0000, 0.0000]])
    """
    size = perturbation.abs()
    # The clamp turns 0 / 0 into 0. amax shares its gradient among equal largest pixels.
    return size / _largest(size).clamp(min=torch.finfo(size.dtype).tiny)


def ascent(
    change: Callable[[Tensor], Tensor], pixels: Tensor, *, epsilon: float, step_size: float, steps: int
) -> Ascent:
    """Perturb pixels so that a scalar rises.

    Parameters
    ----------
    change
        What shall rise, as a function of the perturbation; it must be deterministic.
    pixels
        Pixels of the images, in [0, 1], shape ``(N, ...)``.
    epsilon
        Largest perturbation of a pixel.
    step_size
        Largest movement of a pixel in one step, below ``epsilon``.
    steps
        Number of gradients taken. The start is drawn from torch's global random state.

    Returns
    -------
    The last step, as detached tensors.
    """
    reach = epsilon - step_size  # So that the last step stays within epsilon without being cut.
    # At d = 0 the divergence has its minimum, 0, where its gradient vanishes: hence the random start.
    perturbation = _project(reach * (2 * torch.rand_like(pixels) - 1), pixels, reach)
    for _ in range(steps - 1):
        _, rise = _rise(change, perturbation)
        # Signed steps, as in projected gradient ascent; all but the last are constants for the derivative.
        perturbation = _project(perturbation + step_size * rise.sign(), pixels, reach)
    value, rise = _rise(change, perturbation)
    largest = _largest(rise.abs())
    # xi makes the largest movement of each image equal to step_size; an image without a gradient does not move.
    rate = torch.where(largest > 0, step_size / largest, 0.0)
    moved = perturbation + rate * rise
    # Rounding alone takes the step out of epsilon: that is no cut.
    kept = (moved >= -pixels) & (moved <= 1 - pixels)
    return Ascent(perturbation, _project(moved, pixels, epsilon), torch.where(kept, rate, 0.0), value)


def _rise(change: Callable[[Tensor], Tensor], perturbation: Tensor) -> tuple[Tensor, Tensor]:
    """Return the value at a perturbation, detached, and its gradient."""
    leaf = perturbation.detach().requires_grad_()
    value = change(leaf)
    return value.detach(), gradient(value, {'perturbation': leaf})['perturbation']


def _project(perturbation: Tensor, pixels: Tensor, radius: float) -> Tensor:
    """Return the nearest perturbation that is within the radius and keeps pixels in [0, 1]."""
    return perturbation.clamp((-pixels).clamp(min=-radius), (1 - pixels).clamp(max=radius))


def _largest(values: Tensor) -> Tensor:
    """Return the largest value of each image, in a shape that broadcasts to that of the images."""
    return values.flatten(1).amax(1).view(-1, *[1] * (values.dim() - 1))
