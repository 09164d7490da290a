"""Layers with an equalised learning rate: weights start with unit variance and are scaled when they are used.

An optimiser that normalises gradients, such as Adam, then moves all layers alike, whatever their width.

References
----------
Karras et al., Progressive Growing of GANs for Improved Quality, Stability, and Variation, ICLR 2018, section 4.1.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ['EqualisedConv2d', 'EqualisedLinear', 'activated']


class EqualisedLinear(nn.Module):
    """A linear layer with an equalised learning rate.

    Parameters
    ----------
    in_features, out_features
        Entries of input and output.
    bias
        Value that the bias starts with.
    rate
        The layer learns as if Adam's rate were multiplied by this; SGD's, which a search has for the generator, is
        multiplied by its square.
    """

    def __init__(self, in_features: int, out_features: int, *, bias: float = 0.0, rate: float = 1.0):
        super().__init__()
        # In use: weight * rate / sqrt(in) and bias * rate. Adam moves every stored number by about lr, so that what is
        # used moves by rate * lr relative to its start; the division by rate here leaves the start alone.
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / rate)
        self.bias = nn.Parameter(torch.full((out_features,), bias / rate))
        self.rate, self.scale = rate, rate / math.sqrt(in_features)

    def forward(self, features: Tensor) -> Tensor:
        """Map ``(N, in)`` to ``(N, out)``."""
        return F.linear(features, self.weight * self.scale, self.bias * self.rate)


class EqualisedConv2d(nn.Module):
    """A convolution with an equalised learning rate.

    Parameters
    ----------
    in_channels, out_channels
        Channels of input and output.
    kernel_size
        Side of the kernel, odd.
    halves
        Whether to take every second pixel in both directions, else the side stays. The input then has one more row and
        column than twice the output's, as :class:`nni_wcnas.tester.resampling.Blurred` makes it.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, *, halves: bool = False):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        # He's constant without its gain, which activated() has.
        self.scale = 1 / math.sqrt(in_channels * kernel_size ** 2)
        # Without padding, a kernel of 3 and a stride of 2 map a side of H + 1 to H / 2, for an even H.
        self.stride, self.padding = (2, 0) if halves else (1, kernel_size // 2)

    def forward(self, features: Tensor) -> Tensor:
        """Map ``(N, in, H, W)`` to ``(N, out, H, W)``, or ``(N, out, (H - 1) / 2, (W - 1) / 2)`` of odd sides."""
        return F.conv2d(features, self.weight * self.scale, self.bias, self.stride, self.padding)


def activated(features: Tensor) -> Tensor:
    """Apply a leaky ReLU of slope 0.2, scaled so that the second moment of a standard normal stays about 1."""
    # E leaky(x)^2 = (1 + 0.2^2) / 2 = 0.52; with the factor sqrt(2) it is 1.04.
    return math.sqrt(2) * F.leaky_relu(features, 0.2)
