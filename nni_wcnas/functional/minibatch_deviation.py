"""How much the images of a batch differ: what shows a discriminator that a generator makes always the same.

References
----------
Karras et al., Progressive Growing of GANs for Improved Quality, Stability, and Variation, ICLR 2018, section 3.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ['minibatch_deviation']

_EPSILON = 1e-8
"""Keeps the square root differentiable where all images are equal."""


def minibatch_deviation(features: Tensor, group: int = 32) -> Tensor:
    """Standard deviation over a group of images, averaged over channels and pixels, as one more channel.

    Parameters
    ----------
    features
        Shape ``(N, C, H, W)``.
    group
        Images of a group, at most: a batch is cut into as few groups as that allows, of equal size or one less. A group
        of one image deviates by 1e-4.

    Returns
    -------
    Shape ``(N, 1, H, W)``.

    Examples
    --------
    >>> minibatch_deviation(torch.tensor([0.0, 2.0, 4.0, 8.0]).view(4, 1, 1, 1), group=2).flatten()
    tensor([1., 1., 2., 2.])
    """
    deviations = []
    for part in features.tensor_split(-(-len(features) // group)):
        deviation = (part.var(dim=0, correction=0) + _EPSILON).sqrt().mean()
        deviations.append(deviation.expand(len(part), 1, *features.shape[2:]))
    return torch.cat(deviations)
