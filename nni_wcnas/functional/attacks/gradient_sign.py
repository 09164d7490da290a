"""Attacks that move every pixel by the sign of the loss's gradient: FGSM, and PGD, which repeats and projects.

For pixels x in [0, 1] with labels y, the cross-entropy L and the ball of radius epsilon in the largest pixel change::

    FGSM    x' = clip(x + epsilon sign(grad L(x, y)), 0, 1)
    PGD     x' = x, or a random point of the ball;  steps times:
            x' = clip(x' + step_size sign(grad L(x', y)), x - epsilon, x + epsilon), then clip to [0, 1]

A model is attacked as it stands: in training mode its running statistics move and dropout acts, so put it into
evaluation mode first. Its parameters get no gradient; those that require none save the time of computing it.

References
----------
Goodfellow et al., "Explaining and Harnessing Adversarial Examples", ICLR 2015; Madry et al., "Towards Deep Learning
Models Resistant to Adversarial Attacks", ICLR 2018.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from nni_wcnas.errors import InvalidArgument
from nni_wcnas.functional.hypergradient import gradient

__all__ = ['adversarial_examples', 'fgsm', 'pgd']


def fgsm(model: Callable[[Tensor], Tensor], pixels: Tensor, labels: Tensor, *, epsilon: float = 8 / 255) -> Tensor:
    """Attack pixels by one step of the fast gradient sign method.

    Parameters
    ----------
    model
        Maps pixels ``(N, 3, H, W)`` in [0, 1] to logits ``(N, classes)``.
    pixels
        Pixels in [0, 1], shape ``(N, 3, H, W)``.
    labels
        The true classes, shape ``(N,)``.
    epsilon
        Largest change of a pixel, above 0.

    Returns
    -------
    Tensor
        Attacked pixels in [0, 1], detached.

    Raises
    ------
    ValueError
        If ``epsilon`` is out of range.

    Examples
    --------
    >>> pixels, labels = torch.tensor([[0.5, 0.9]]), torch.tensor([0])
    >>> fgsm(lambda x: x * torch.tensor([1.0, 2.0]), pixels, labels, epsilon=0.2)
    tensor([[0.3000, 1.0000]])
    """
    _check('epsilon', epsilon)
    return (pixels + epsilon * _rise(model, pixels, labels).sign()).clamp(0, 1)


def pgd(
    model: Callable[[Tensor], Tensor],
    pixels: Tensor,
    labels: Tensor,
    *,
    steps: int,
    epsilon: float = 8 / 255,
    step_size: float = 2 / 255,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Attack pixels by projected gradient ascent on the cross-entropy.

    Parameters
    ----------
    model, pixels, labels, epsilon
        As for :func:`fgsm`.
    steps
        Number of gradients taken, at least 1.
    step_size
        Change of a pixel in one step, above 0.
    generator
        Source of the random start, which is uniform in the ball and is drawn on the generator's device; None starts at
        the pixels themselves.

    Returns
    -------
    Tensor
        Attacked pixels in [0, 1], within ``epsilon`` of the given ones up to rounding, detached.

    Raises
    ------
    ValueError
        If a number is out of range.
    """
    _check('epsilon', epsilon)
    _check('step_size', step_size)
    if steps < 1:
        raise InvalidArgument('steps', steps, 'be at least 1')
    attacked = pixels.detach()
    if generator is not None:
        # On the generator's device, whatever the device of the pixels: a CPU generator draws the same start everywhere.
        drawn = torch.rand(pixels.shape, generator=generator, dtype=pixels.dtype, device=generator.device)
        attacked = (pixels + epsilon * (2 * drawn.to(pixels.device) - 1)).clamp(0, 1)
    for _ in range(steps):
        moved = attacked + step_size * _rise(model, attacked, labels).sign()
        # Into the ball first, then into [0, 1]: the second clamp moves values towards the pixels, so it does not leave
        # the ball.
        attacked = (pixels + (moved - pixels).clamp(-epsilon, epsilon)).clamp(0, 1)
    return attacked


def adversarial_examples(
    model: Callable[[Tensor], Tensor],
    pixels: Tensor,
    labels: Tensor,
    *,
    generator: torch.Generator,
    steps: int = 7,
    epsilon: float = 8 / 255,
    step_size: float = 2 / 255,
) -> Tensor:
    """Return what a network is trained on to become robust: :func:`pgd` from a random start.

    The default numbers are those of Madry et al. for CIFAR-10.

    Parameters
    ----------
    model, pixels, labels, generator, steps, epsilon, step_size
        As for :func:`pgd`; the generator is required, as each batch needs a start of its own.

    Returns
    -------
    Tensor
        Attacked pixels in [0, 1], detached, to train on in place of the given ones.
    """
    return pgd(model, pixels, labels, steps=steps, epsilon=epsilon, step_size=step_size, generator=generator)


def _rise(model: Callable[[Tensor], Tensor], pixels: Tensor, labels: Tensor) -> Tensor:
    """Return the gradient of the loss by the pixels; zero where the network does not see its images."""
    leaf = pixels.detach().requires_grad_()
    # Callers may have turned gradients off, as evaluations do.
    with torch.enable_grad():
        # A sum gives each image its own gradient; in a mean, small ones could underflow and lose their sign.
        loss = F.cross_entropy(model(leaf), labels, reduction='sum')
    return gradient(loss, {'pixels': leaf})['pixels']


def _check(name: str, value: float) -> None:
    """Refuse a number that is not positive and finite."""
    if not 0 < value < math.inf:
        raise InvalidArgument(name, value, 'be above 0 and finite')
