"""Changing the side of feature maps by two without aliasing, with the filter [1, 3, 3, 1] in both directions.

References
----------
Zhang, Making Convolutional Networks Shift-Invariant Again, ICML 2019; Karras et al., Analyzing and Improving the Image
Quality of StyleGAN, CVPR 2020, appendix B.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ['Blurred', 'Doubled']


class _Filter(nn.Module):
    """Holds the filter where its module is; nothing to save."""

    kernel: Tensor

    def __init__(self, gain: float):
        super().__init__()
        taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
        self.register_buffer('kernel', gain * torch.outer(taps, taps), persistent=False)

    def of(self, channels: int) -> Tensor:
        """A kernel for each channel, shape ``(channels, 1, 4, 4)``."""
        return self.kernel.expand(channels, 1, -1, -1)


class Doubled(_Filter):
    """Up-sampling by two: zeros between the pixels, and the filter, which makes it bilinear; keeps the mean.

    Edges are repeated outwards; zeros there would darken them.
    """

    def __init__(self) -> None:
        super().__init__(gain=4.0)

    def forward(self, features: Tensor) -> Tensor:
        """Map ``(N, C, H, W)`` to ``(N, C, 2H, 2W)``."""
        channels = features.shape[1]
        padded = F.pad(features, (1, 1, 1, 1), mode='replicate')
        return F.conv_transpose2d(padded, self.of(channels), stride=2, padding=3, groups=channels)


class Blurred(_Filter):
    """The filter alone, with zeros beyond the edges: what comes before a convolution that halves the side."""

    def __init__(self) -> None:
        super().__init__(gain=1.0)

    def forward(self, features: Tensor) -> Tensor:
        """Map ``(N, C, H, W)`` to ``(N, C, H + 1, W + 1)``."""
        channels = features.shape[1]
        return F.conv2d(features, self.of(channels), padding=2, groups=channels)
