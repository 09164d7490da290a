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
    """The filter as a buffer, which moves with its module and is not saved."""

    kernel: Tensor

    def __init__(self, gain: float):
        super().__init__()
        # [1, 3, 3, 1] / 8 sums to 1, so that the filter keeps the mean; the kernel is its outer product, (4, 4).
        taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
        self.register_buffer('kernel', gain * torch.outer(taps, taps), persistent=False)

    def of(self, channels: int) -> Tensor:
        """Return the kernels of a depthwise convolution, all the same, shape ``(channels, 1, 4, 4)``."""
        return self.kernel.expand(channels, 1, -1, -1)


class Doubled(_Filter):
    """Up-sampling by two: zeros between the pixels, then the filter, which makes it bilinear; it keeps the mean.

    Edges are repeated outwards; zeros there would darken them.
    """

    def __init__(self) -> None:
        super().__init__(gain=4.0)  # One pixel in four is not zero.

    def forward(self, features: Tensor) -> Tensor:
        """Map ``(N, C, H, W)`` to ``(N, C, 2H, 2W)``."""
        channels = features.shape[1]
        padded = F.pad(features, (1, 1, 1, 1), mode='replicate')
        # (2 (H + 2 - 1) + 4) - 2 * 3 = 2 H: the transposed convolution cuts off what comes of the padding.
        return F.conv_transpose2d(padded, self.of(channels), stride=2, padding=3, groups=channels)


class Blurred(_Filter):
    """The filter alone, with zeros beyond the edges; it comes before a convolution that halves the side."""

    def __init__(self) -> None:
        super().__init__(gain=1.0)

    def forward(self, features: Tensor) -> Tensor:
        """Map ``(N, C, H, W)`` to ``(N, C, H + 1, W + 1)``."""
        channels = features.shape[1]
        # H + 2 * 2 - 4 + 1 = H + 1: a 3x3 convolution of stride 2 without padding then makes H / 2 of an even H.
        return F.conv2d(features, self.of(channels), padding=2, groups=channels)
