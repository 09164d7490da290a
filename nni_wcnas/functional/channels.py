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
    channels = images.shape[1]
    order = torch.arange(channels, device=images.device).view(groups, -1).t().flatten()
    return images.index_select(1, order)
