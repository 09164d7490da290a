"""R1, a penalty on the slope of a discriminator at the real images.

References
----------
Mescheder et al., Which Training Methods for GANs do actually Converge?, ICML 2018, equation 9.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ['squared_slope']


def squared_slope(scores: Tensor, images: Tensor) -> Tensor:
    """Return the mean over a batch of |d score / d image|^2; R1 is gamma / 2 times it.

    It is differentiable in the images and in all else that the scores depend on, as a discriminator's parameters.

    Parameters
    ----------
    scores
        Scores, shape ``(N,)``, each of one image; or of all images, where a layer compares them.
    images
        What the scores were made from, shape ``(N, 3, H, W)``; requires a gradient.

    Returns
    -------
    Scalar, at least 0.

    Examples
    --------
    >>> images = torch.ones(2, 1, 1, 2, requires_grad=True)
    >>> squared_slope(3 * images.sum(dim=(1, 2, 3)), images)
    tensor(18.)
    """
    # The sum of all scores has the slope of each score at its own image. The graph is kept for the derivative of the
    # penalty; where scores do not depend on the images, slopes are 0.
    slopes, = torch.autograd.grad(scores.sum(), images, create_graph=True, materialize_grads=True)
    return slopes.square().flatten(1).sum(dim=1).mean()
