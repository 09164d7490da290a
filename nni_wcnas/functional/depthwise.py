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
    """Return dL/dx of the convolution y = x * w.

    Parameters
    ----------
    shape
        Shape of x, ``(N, C, H, W)``.
    weight
        w, shape ``(C, 1, k, k)``.
    gradient
        dL/dy, shape ``(N, C, H', W')``.
    stride, padding, dilation
        Those of the convolution, the same for both axes.
    """
    # Pixels from the first tap of the kernel to the last.
    reach = dilation * (weight.shape[-1] - 1)
    # A negative padding does not exist, and a stride would need zeros between the pixels of dy.
    if stride == 1 and padding <= reach:
        return F.conv2d(gradient, weight.flip(2, 3), None, 1, reach - padding, dilation, len(weight))
    return conv2d_input(shape, weight, gradient, stride, padding, dilation, len(weight))


def weight_gradient(
    x: Tensor, shape: torch.Size, gradient: Tensor, stride: int, padding: int, dilation: int
) -> Tensor:
    """Return dL/dw of the convolution y = x * w.

    Parameters
    ----------
    x
        Shape ``(N, C, H, W)``.
    shape
        Shape of w, ``(C, 1, k, k)``.
    gradient
        dL/dy, shape ``(N, C, H', W')``.
    stride, padding, dilation
        Those of the convolution, the same for both axes.
    """
    size = shape[-1]
    if size == 3 and dilation == 1:
        return conv2d_weight(x, shape, gradient, stride, padding, dilation, shape[0])
    # dw[c, i] = sum over n, o of x[n, c, stride o + dilation i - padding] dy[n, c, o]: a convolution of x by dy in
    # which i moves by the dilation, and the taps o are a stride apart.
    count, channels, height, width = x.shape
    # Permuted twice, so that the one image of N * C channels is in channels-last.
    images = x.permute(2, 3, 0, 1).reshape(1, height, width, -1).permute(0, 3, 1, 2)  # (1, N * C, H, W)
    kernels = gradient.reshape(count * channels, 1, *gradient.shape[2:])
    # (1, N * C, at least k, at least k): pixels that a strided convolution leaves over make taps beyond the kernel.
    taps = F.conv2d(images, kernels, None, dilation, padding, stride, count * channels)[..., :size, :size]
    # (N, C, k, k), summed over images to (C, 1, k, k).
    return taps.reshape(count, channels, size, size).sum(0).unsqueeze(1)

