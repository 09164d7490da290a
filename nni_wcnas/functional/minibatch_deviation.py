"""How much the images of a batch differ, which shows a discriminator that a generator always makes the same ones.

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
    """Return the standard deviation over a group of images, averaged over channels and pixels, as a new channel.

    Parameters
    ----------
    features
        Features of the images, shape ``(N, C, H, W)``.
    group
        Largest number of images in a group. A batch is cut into as few groups as that allows, whose sizes differ by at
        most one. A group of one image deviates by 1e-4.

    Returns
    -------
    The new channel, constant over the pixels of a group, shape ``(N, 1, H, W)``.

    Examples
    --------
    >>> minibatch_deviation(torch.tensor([0.0, 2.0, 4.0, 8.0]).view(4, 1, 1, 1), group=2).flatten()
    tensor([1., 1., 2., 2.])
    """
    deviations = []
    # -(-N // group) rounds up. Any batch size is allowed, unlike in the published code, which needs a multiple of the
    # group.
    for part in features.tensor_split(-(-len(features) // group)):
        # (C, H, W) over the images, then one number for the group.
        deviation = (part.var(dim=0, correction=0) + _EPSILON).sqrt().mean()
        deviations.append(deviation.expand(len(part), 1, *features.shape[2:]))
    return torch.cat(deviations)
