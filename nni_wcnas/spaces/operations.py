"""The candidate operations of cells.

A new operation is one entry in :data:`OPERATIONS`: a function of ``(channels, stride, affine)`` whose
module maps ``(N, C, H, W)`` to ``(N, C, ceil(H / stride), ceil(W / stride))``. Every operation here obeys that rule for
odd sizes too, so that the edges of a node can always be added.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nni_wcnas.functional.corners import corners
from nni_wcnas.nearest_name import nearest_name

__all__ = [
    'BENCHMARK_PRIMITIVES', 'OPERATIONS', 'PRIMITIVES', 'FactorizedReduce', 'Noise', 'Operation', 'ReLUConvNorm',
    'SeparableConv', 'Zero', 'build_operation',
]

Operation = Callable[[int, int, bool], nn.Module]
"""Builds an operation from the number of channels, the stride and whether batch norm has learnable scale and shift."""


class ReLUConvNorm(nn.Sequential):
    """ReLU, convolution and batch norm, from ``(N, in_channels, H, W)`` to ``(N, out_channels, H', W')``.

    Parameters
    ----------
    in_channels, out_channels
        Numbers of channels before and after.
    kernel_size, stride, padding
        Arguments of the convolution; the default is pointwise and keeps the size.
    affine
        Whether the batch norm has learnable scale and shift.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 1, stride: int = 1, padding: int = 0, *,
                 affine: bool = True):
        super().__init__(
            nn.ReLU(),
            nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, bias=False),
            nn.BatchNorm2d(out_channels, affine=affine),
        )


class SeparableConv(nn.Sequential):
    """A separable convolution: ``repeats`` times (ReLU, depthwise convolution, pointwise convolution, batch norm).

    Only the first depthwise convolution has the stride.

    Parameters
    ----------
    channels
        Number of channels before and after.
    kernel_size
        Odd side of the depthwise kernel; the padding keeps the size.
    stride
        Stride of the first depthwise convolution, 1 or 2.
    dilation
        Dilation of the depthwise kernels.
    repeats
        Number of repeats: 2 for the papers' ``sep_conv``, 1 for their ``dil_conv``.
    affine
        Whether batch norm has learnable scale and shift.
    """

    def __init__(self, channels: int, kernel_size: int, stride: int = 1, *, dilation: int = 1, repeats: int = 1,
                 affine: bool = True):
        # A dilated kernel spans dilation (kernel_size - 1) + 1 pixels; half of what it reaches beyond the centre on
        # each side.
        padding = dilation * (kernel_size - 1) // 2
        layers: list[nn.Module] = []
        for repeat in range(repeats):
            layers += [
                nn.ReLU(),
                nn.Conv2d(channels, channels, kernel_size, stride if repeat == 0 else 1, padding, dilation,
                          groups=channels, bias=False),
                nn.Conv2d(channels, channels, 1, bias=False),
                nn.BatchNorm2d(channels, affine=affine),
            ]
        # A flat Sequential: the fast cells recognise an operation by the types and the order of its layers.
        super().__init__(*layers)


class FactorizedReduce(nn.Module):
    """A reduction that halves the size by two pointwise convolutions of stride 2, whose channels are put side by side.

    The second one sees the input shifted by (1, 1). Odd sizes work: the shifted input is then padded by one row or
    column of zeros, and the output has ``ceil(H / 2)`` rows.

    Parameters
    ----------
    in_channels, out_channels
        Numbers of channels before and after; the two convolutions share ``out_channels``, the second takes the odd one.
    affine
        Whether the batch norm has learnable scale and shift.
    """

    def __init__(self, in_channels: int, out_channels: int, *, affine: bool = True):
        super().__init__()
        if out_channels < 2:
            raise ValueError(f'out_channels is {out_channels}, but they are split in two: give at least 2')
        self.relu = nn.ReLU()
        self.conv_even = nn.Conv2d(in_channels, out_channels // 2, 1, bias=False)
        self.conv_odd = nn.Conv2d(in_channels, out_channels - out_channels // 2, 1, bias=False)
        self.norm = nn.BatchNorm2d(out_channels, affine=affine)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, C, H, W)`` to ``(N, out_channels, ceil(H / 2), ceil(W / 2))``."""
        x = self.relu(x)
        height, width = x.shape[-2:]
        if height % 2 == width % 2 == 0 and x.is_contiguous(memory_format=torch.channels_last):
            even, odd = corners(x, (0, 1))
            return self.norm(torch.cat([self.conv_even(even), self.conv_odd(odd)], dim=1))
        shifted = F.pad(x, (-1, width % 2, -1, height % 2))  # A negative pad cuts the first row and column off.
        # Striding before a pointwise convolution is the same map, and avoids oneDNN's strided one
        # (see search/memory_layout.py).
        return self.norm(torch.cat([self.conv_even(x[:, :, ::2, ::2]), self.conv_odd(shifted[:, :, ::2, ::2])], dim=1))


class Zero(nn.Module):
    """The absent edge, whose output is zeros of the strided size.

    Parameters
    ----------
    stride
        Stride of the edge, 1 or 2.
    """

    def __init__(self, stride: int = 1):
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, C, H, W)`` to zeros of shape ``(N, C, ceil(H / stride), ceil(W / stride))``."""
        # Not x * 0, which would turn an infinite input into NaN and hold on to a graph.
        return torch.zeros_like(x[:, :, ::self.stride, ::self.stride])

    def extra_repr(self) -> str:
        """Return the stride, which ``print`` shows in the brackets of the module."""
        return f'stride={self.stride}'


class Noise(nn.Module):
    """Standard normal noise of the strided size, whatever the input; drawn anew in each pass from torch's global state.

    Parameters
    ----------
    stride
        Stride of the edge, 1 or 2.
    """

    def __init__(self, stride: int = 1):
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, C, H, W)`` to noise of shape ``(N, C, ceil(H / stride), ceil(W / stride))``."""
        return torch.randn_like(x[:, :, ::self.stride, ::self.stride])

    def extra_repr(self) -> str:
        """Return the stride, which ``print`` shows in the brackets of the module."""
        return f'stride={self.stride}'


class _Asymmetric(nn.Sequential):
    """ReLU, a ``1 x size`` and a ``size x 1`` convolution, and batch norm; each of both strides along its own side."""

    def __init__(self, channels: int, size: int, stride: int, affine: bool):
        super().__init__(
            nn.ReLU(),
            nn.Conv2d(channels, channels, (1, size), (1, stride), (0, size // 2), bias=False),
            nn.Conv2d(channels, channels, (size, 1), (stride, 1), (size // 2, 0), bias=False),
            nn.BatchNorm2d(channels, affine=affine),
        )


def _skip(channels: int, stride: int, affine: bool) -> nn.Module:
    """Build a skip, which has no weights unless it has to halve the size."""
    return nn.Identity() if stride == 1 else FactorizedReduce(channels, channels, affine=affine)


def _conv(size: int) -> Operation:
    """Return the operation of ReLU, a full convolution with a kernel of this side, and batch norm."""
    return lambda channels, stride, affine: ReLUConvNorm(channels, channels, size, stride, size // 2, affine=affine)


OPERATIONS: dict[str, Operation] = {
    'none': lambda channels, stride, affine: Zero(stride),
    # Each entry takes (channels, stride, affine); pools and other operations without weights use the stride alone.
    'max_pool_3x3': lambda channels, stride, affine: nn.MaxPool2d(3, stride, padding=1),
    'avg_pool_3x3': lambda channels, stride, affine: nn.AvgPool2d(3, stride, padding=1, count_include_pad=False),
    'skip_connect': _skip,
    'sep_conv_3x3': lambda channels, stride, affine: SeparableConv(channels, 3, stride, repeats=2, affine=affine),
    'sep_conv_5x5': lambda channels, stride, affine: SeparableConv(channels, 5, stride, repeats=2, affine=affine),
    'dil_conv_3x3': lambda channels, stride, affine: SeparableConv(channels, 3, stride, dilation=2, affine=affine),
    'dil_conv_5x5': lambda channels, stride, affine: SeparableConv(channels, 5, stride, dilation=2, affine=affine),
    'noise': lambda channels, stride, affine: Noise(stride),
    'nor_conv_1x1': _conv(1),
    'nor_conv_3x3': _conv(3),
    # Names that NNI's hub gives to the benchmark's operations.
    'conv_1x1': _conv(1),
    'conv_3x3': _conv(3),
    'sep_conv_7x7': lambda channels, stride, affine: SeparableConv(channels, 7, stride, repeats=2, affine=affine),
    'dil_sep_conv_3x3': lambda channels, stride, affine: SeparableConv(
        channels, 3, stride, dilation=2, repeats=2, affine=affine),
    'conv_3x1_1x3': lambda channels, stride, affine: _Asymmetric(channels, 3, stride, affine),
    'conv_7x1_1x7': lambda channels, stride, affine: _Asymmetric(channels, 7, stride, affine),
    'max_pool_5x5': lambda channels, stride, affine: nn.MaxPool2d(5, stride, padding=2),
    'max_pool_7x7': lambda channels, stride, affine: nn.MaxPool2d(7, stride, padding=3),
}
"""All operations by name: DARTS's, the noise of RobustDARTS's S4, NAS-Bench-201's, and those of NNI's hub."""

PRIMITIVES = (
    'none', 'max_pool_3x3', 'avg_pool_3x3', 'skip_connect', 'sep_conv_3x3', 'sep_conv_5x5', 'dil_conv_3x3',
    'dil_conv_5x5',
)
"""The candidates of the DARTS space, in the order of the DARTS code."""

BENCHMARK_PRIMITIVES = ('none', 'skip_connect', 'nor_conv_1x1', 'nor_conv_3x3', 'avg_pool_3x3')
"""The candidates of NAS-Bench-201, in the order of the benchmark."""


def build_operation(name: str, channels: int, stride: int = 1, *, affine: bool = True,
                    pool_norm: bool = False) -> nn.Module:
    """Build the operation of one edge.

    Parameters
    ----------
    name
        Name of the operation, a key of :data:`OPERATIONS`.
    channels
        Number of channels before and after.
    stride
        Stride of the edge: 1, or 2 on the edges of a reduction cell that leave the cell's inputs.
    affine
        Whether batch norm has learnable scale and shift: False while searching, True in the final network.
    pool_norm
        Whether pools are followed by a batch norm without scale and shift: True while searching, False in the final
        network.

    Returns
    -------
    torch.nn.Module
        A module that maps ``(N, channels, H, W)`` to ``(N, channels, ceil(H / stride), ceil(W / stride))``.

    Raises
    ------
    ValueError
        If the name is unknown (the nearest known one is named) or the stride is neither 1 nor 2.

    Examples
    --------
    >>> build_operation('max_pool_3x3', 16, 2)
    MaxPool2d(kernel_size=3, stride=2, padding=1, dilation=1, ceil_mode=False)
    """
    if name not in OPERATIONS:
        nearest = nearest_name(name, OPERATIONS)
        raise ValueError(f'unknown operation {name!r}: did you mean {nearest!r}? Known are {", ".join(OPERATIONS)}')
    if stride not in (1, 2):
        raise ValueError(f'stride is {stride}, but an edge of a cell has stride 1 or 2')
    operation = OPERATIONS[name](channels, stride, affine)
    # Pools have no weights to normalise by: in the search a norm brings their outputs to the scale of the others'.
    if pool_norm and isinstance(operation, (nn.MaxPool2d, nn.AvgPool2d)):
        return nn.Sequential(operation, nn.BatchNorm2d(channels, affine=False))
    return operation
