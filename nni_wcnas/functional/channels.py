"""Channel shuffle."""

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
    The same shape and memory format.

    Examples
    --------
    >>> shuffled(torch.arange(6.0).view(1, 6, 1, 1), 2).flatten().tolist()
    [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]

    References
    ----------
    Zhang et al., "ShuffleNet", CVPR 2018, section 3.1.
    """
    if images.is_contiguous(memory_format=torch.channels_last):
        rows = images.permute(0, 2, 3, 1).unflatten(3, (groups, -1))  # (N, H, W, groups, C / groups)
        return rows.transpose(3, 4).flatten(3).permute(0, 3, 1, 2)
    return images.unflatten(1, (groups, -1)).transpose(1, 2).flatten(1, 2)
