"""Modulated convolution, whose kernel is scaled for each image: how a style acts on a layer of StyleGAN2.

References
----------
Karras et al., Analyzing and Improving the Image Quality of StyleGAN, CVPR 2020, section 2.2, equations 1 to 3.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

__all__ = ['modulated_convolution']

_EPSILON = 1e-8
"""Keeps a kernel of zeros finite."""


def modulated_convolution(features: Tensor, kernel: Tensor, styles: Tensor, *, demodulates: bool = True) -> Tensor:
    """Convolve each image with a kernel of its own: w'_oikl = s_i w_oikl, divided by its norm over i, k and l.

    One grouped convolution, with a group for each image; it keeps the side and is differentiable any number of times.

    Parameters
    ----------
    features
        Features of the images, shape ``(N, in, H, W)``.
    kernel
        w, shape ``(out, in, K, K)`` with an odd K.
    styles
        s, scale of each input channel for each image, shape ``(N, in)``.
    demodulates
        Divide by the norm (equation 3), so that independent inputs of unit variance give outputs of unit variance.

    Returns
    -------
    The convolved features, shape ``(N, out, H, W)``.
    """
    count, _, height, width = features.shape
    # Equation 1: scaling the kernel is the same as scaling the input channels, but can be normalised below.
    kernels = kernel * styles[:, None, :, None, None]  # (N, out, in, K, K)
    if demodulates:
        # Equation 3: one norm for each image and output channel, over input channels and pixels of the kernel.
        kernels = kernels * (kernels.square().sum(dim=(2, 3, 4), keepdim=True) + _EPSILON).rsqrt()
    side_by_side = features.reshape(1, -1, height, width)  # (1, N in, H, W)
    # Kernels (N out, in, K, K) in N groups: each image meets its own ones alone, in a single call.
    convolved = F.conv2d(side_by_side, kernels.flatten(0, 1), padding=kernel.shape[-1] // 2, groups=count)
    return convolved.view(count, -1, height, width)
