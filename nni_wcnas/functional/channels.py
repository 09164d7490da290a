"""Channel shuffle: interleave groups of channels, so that a later group sees channels of all of them."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ['shuffled']


def shuffled(images: Tensor, groups: int) -> Tensor:
    """Interleave equal groups of channels: the first of each group, then the second of each, and so on.

    Parameters
    ----------
    images
        Shape ``(N, C, H, W)``; ``groups`` divides C.
    groups
        Number of groups, of consecutive channels.

    Returns
    -------
    The shuffled images, in the same shape and memory format.

    Examples
    --------
    >>> shuffled(torch.arange(6.0).view(1, 6, 1, 1), 2).flatten().tolist()
    [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]

    References
    ----------
    Zhang et al., "ShuffleNet", CVPR 2018, section 3.1.
    """
    if images.is_contiguous(memory_format=torch.channels_last):
        # The general form below would copy into the plain memory layout; here the copy is made with channels last.
        rows = images.permute(0, 2, 3, 1).unflatten(3, (groups, -1))  # (N, H, W, groups, C / groups)
        return rows.transpose(3, 4).flatten(3).permute(0, 3, 1, 2)
    # (N, groups, C / groups, H, W) with the two factors of C swapped: channel j of group i goes to place j groups + i.
    return images.unflatten(1, (groups, -1)).transpose(1, 2).flatten(1, 2)
