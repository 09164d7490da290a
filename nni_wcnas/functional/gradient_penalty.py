"""R1: a discriminator shall be flat where the real images are.

References
----------
Mescheder et al., Which Training Methods for GANs do actually Converge?, ICML 2018, equation 9.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ['squared_slope']


def squared_slope(scores: Tensor, images: Tensor) -> Tensor:
    """Mean over the batch of |d score / d image|^2, differentiable in what the scores depend on; R1 is gamma / 2 of it.

    Parameters
    ----------
    scores
        Shape ``(N,)``, each of one image, or of all where a layer compares them.
    images
        What the scores were made from, shape ``(N, 3, H, W)``; requires a gradient.

    Examples
    --------
    >>> images = torch.ones(2, 1, 1, 2, requires_grad=True)
    >>> squared_slope(3 * images.sum(dim=(1, 2, 3)), images)
    tensor(18.)
    """
    slopes, = torch.autograd.grad(scores.sum(), images, create_graph=True, materialize_grads=True)
    return slopes.square().flatten(1).sum(dim=1).mean()
