"""The derivatives of a depthwise convolution as forward passes of depthwise convolutions.

oneDNN computes a depthwise convolution in channels-last fast, but not its derivatives: for the weights of a 5x5 kernel
and for everything of a dilated one it pads each channel to a block of 16, and wastes an order of magnitude of
arithmetic. The derivatives are depthwise convolutions themselves::

    dx = dy * flipped(w)                 for stride 1
    dw = sum over images of x * dy       each pair (image, channel) is a channel, dy is its kernel; stride and dilation
                                         change places

Where torch's own derivative is as good (dense 3x3 kernels) it is used.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.grad import conv2d_input, conv2d_weight

__all__ = ['input_gradient', 'weight_gradient']


def input_gradient(
    shape: torch.Size, weight: Tensor, gradient: Tensor, stride: int, padding: int, dilation: int
) -> Tensor:
    """dL/dx of a ``shape``, given dL/dy of shape ``(N, C, H', W')``."""
    reach = dilation * (weight.shape[-1] - 1)
    if stride == 1 and padding <= reach:
        return F.conv2d(gradient, weight.flip(2, 3), None, 1, reach - padding, dilation, len(weight))
    return conv2d_input(shape, weight, gradient, stride, padding, dilation, len(weight))


def weight_gradient(
    x: Tensor, shape: torch.Size, gradient: Tensor, stride: int, padding: int, dilation: int
) -> Tensor:
    """dL/dw of a ``shape``, given dL/dy of shape ``(N, C, H', W')``."""
    size = shape[-1]
    if size == 3 and dilation == 1:
        return conv2d_weight(x, shape, gradient, stride, padding, dilation, shape[0])
    count, channels, height, width = x.shape
    images = x.permute(2, 3, 0, 1).reshape(1, height, width, -1).permute(0, 3, 1, 2)  # (1, N * C, H, W)
    kernels = gradient.reshape(count * channels, 1, *gradient.shape[2:])
    taps = F.conv2d(images, kernels, None, dilation, padding, stride, count * channels)[..., :size, :size]
    return taps.reshape(count, channels, size, size).sum(0).unsqueeze(1)

