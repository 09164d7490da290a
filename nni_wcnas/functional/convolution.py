"""Convolutions whose derivatives of every order are convolutions of the same few kinds.

The form <dy, x * w> is linear in each of its three arguments, so its derivatives are each other's derivatives::

    x * w     to x: dx(w, dy)      to w: dw(x, dy)
    dx        to w: dw(x, dy)      to dy: x * w
    dw        to x: dx(w, dy)      to dy: x * w

With these three functions a second backward pass is made of three fast passes a layer. torch's own takes twice as long
for a dense convolution on a CPU, and many times as long for a depthwise one, whose derivatives here are those of
:mod:`nni_wcnas.functional.depthwise`.
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.grad import conv2d_input, conv2d_weight

from nni_wcnas.functional import depthwise as depthwise_form
from nni_wcnas.functional.corners import corners
from nni_wcnas.functional.mixed_derivative import held, is_wanted

__all__ = ['Geometry', 'convolution', 'depthwise']


class Geometry(NamedTuple):
    """The settings of a convolution: one number for both axes, or one for each.

    A depthwise one has one number for both axes.
    """

    stride: int | tuple[int, ...] = 1
    padding: int | tuple[int, ...] = 0
    dilation: int | tuple[int, ...] = 1
    groups: int = 1
    """1 for a dense convolution, the number of channels for a depthwise one, anything between for a grouped one."""


def convolution(x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    """Return ``F.conv2d(x, weight, None, *geometry)``, as often differentiable.

    Parameters
    ----------
    x
        Shape ``(N, C, H, W)``.
    weight
        Shape ``(C', C / groups, k, l)``, which is ``(C, 1, k, k)`` for a depthwise convolution.
    geometry
        Stride, padding, dilation and groups.

    Returns
    -------
    Shape ``(N, C', H', W')``.
    """
    return _Convolution.apply(x, weight, geometry)


def depthwise(x: Tensor, weight: Tensor, *, stride: int = 1, padding: int = 0, dilation: int = 1) -> Tensor:
    """Convolve each channel with a square kernel: ``F.conv2d(x, weight, None, stride, padding, dilation, groups=C)``.

    Parameters
    ----------
    x
        Shape ``(N, C, H, W)``.
    weight
        Shape ``(C, 1, k, k)``.
    stride, padding, dilation
        The same for both axes.

    Returns
    -------
    Shape ``(N, C, H', W')``, as often differentiable as torch's.
    """
    if stride == dilation == 2 and padding % 2 == 0:
        # Output o reads pixels 2 o + 2 i - padding, all even: an undilated convolution of the map of even pixels. Its
        # stride is 1, so its derivative to x is a depthwise convolution as well.
        (x,) = corners(x)
        stride, padding, dilation = 1, padding // 2, 1
    # The weight has one kernel a channel: its length is the number of groups.
    if _gains(x, weight):
        return _Convolution.apply(x, weight, Geometry(stride, padding, dilation, len(weight)))
    return F.conv2d(x, weight, None, stride, padding, dilation, len(weight))


def _gains(x: Tensor, weight: Tensor) -> bool:
    """Return whether oneDNN computes this convolution in channels-last, where derivatives of ours are faster."""
    return (
        x.device.type == 'cpu'
        and x.dtype == weight.dtype == torch.float32
        and bool(torch.backends.mkldnn.enabled)
        and not torch.is_autocast_enabled('cpu')
        and bool(x.is_contiguous(memory_format=torch.channels_last))
    )


class _Convolution(torch.autograd.Function):
    """The convolution x * w, given x and w."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.geometry = geometry
        return F.conv2d(x, weight, None, *geometry)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        # A gradient may arrive in any layout (expanded by a mean, say), and oneDNN's depthwise convolutions are
        # fast in channels-last.
        gradient, geometry = _channels_last(gradients[0]), ctx.geometry
        to_input = to_weight = None
        if ctx.needs_input_grad[0]:
            to_input = _input_gradient(x.shape, held(weight), gradient, geometry)
        # Nobody wants this one in the second pass of a mixed derivative: see mixed_derivative.py.
        if ctx.needs_input_grad[1] and is_wanted(ctx):
            to_weight = _weight_gradient(x, weight.shape, gradient, geometry)
        return to_input, to_weight, None


class _InputGradient(torch.autograd.Function):
    """The gradient dx of a convolution, given w and dy."""

    @staticmethod
    def forward(ctx: Any, shape: torch.Size, weight: Tensor, gradient: Tensor, geometry: Geometry) -> Tensor:
        ctx.save_for_backward(weight, gradient)
        ctx.geometry = geometry
        return _input_gradient(shape, weight, gradient, geometry)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        weight, gradient = ctx.saved_tensors
        # dx is linear in w and dy. What arrives here has the shape of x and takes its place in <dy, x * w>.
        x = _channels_last(gradients[0])
        to_weight = _weight_gradient(x, weight.shape, gradient, ctx.geometry) if ctx.needs_input_grad[1] else None
        to_gradient = _Convolution.apply(x, weight, ctx.geometry) if ctx.needs_input_grad[2] else None
        return None, to_weight, to_gradient, None


class _WeightGradient(torch.autograd.Function):
    """The gradient dw of a convolution, given x and dy."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, shape: torch.Size, gradient: Tensor, geometry: Geometry) -> Tensor:
        ctx.save_for_backward(x, gradient)
        ctx.geometry = geometry
        return _weight_gradient(x, shape, gradient, geometry)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, gradient = ctx.saved_tensors
        # Likewise: what arrives has the shape of w and takes its place.
        weight = gradients[0]
        to_input = _input_gradient(x.shape, weight, gradient, ctx.geometry) if ctx.needs_input_grad[0] else None
        to_gradient = _Convolution.apply(x, weight, ctx.geometry) if ctx.needs_input_grad[2] else None
        return to_input, None, to_gradient, None


def _input_gradient(shape: torch.Size, weight: Tensor, gradient: Tensor, geometry: Geometry) -> Tensor:
    """Return dx of the given shape, differentiable where gradients are enabled."""
    # A function of ours takes its time to call, so only where somebody differentiates again. Its forward pass runs with
    # gradients off and comes back to the lines below.
    if torch.is_grad_enabled():
        return _InputGradient.apply(shape, weight, gradient, geometry)
    if _is_depthwise(weight.shape, geometry):
        return depthwise_form.input_gradient(shape, weight, gradient, *_of_both_axes(geometry))
    return conv2d_input(shape, weight, gradient, *geometry)


def _weight_gradient(x: Tensor, shape: torch.Size, gradient: Tensor, geometry: Geometry) -> Tensor:
    """Return dw of the given shape, differentiable where gradients are enabled."""
    if torch.is_grad_enabled():
        return _WeightGradient.apply(x, shape, gradient, geometry)
    if _is_depthwise(shape, geometry):
        return depthwise_form.weight_gradient(x, shape, gradient, *_of_both_axes(geometry))
    return conv2d_weight(x, shape, gradient, *geometry)


def _is_depthwise(weight: torch.Size, geometry: Geometry) -> bool:
    """Return whether each channel has one square kernel, and both axes have the same numbers."""
    # Other grouped convolutions, as those with several kernels a channel, have torch's derivatives.
    square = weight[2] == weight[3] and all(isinstance(number, int) for number in geometry[:3])
    return square and weight[1] == 1 and weight[0] == geometry.groups > 1


def _of_both_axes(geometry: Geometry) -> tuple[int, int, int]:
    """Return stride, padding and dilation of a depthwise convolution, one number each for both axes."""
    return cast(tuple[int, int, int], geometry[:3])


def _channels_last(x: Tensor) -> Tensor:
    """Return x in channels-last; itself if it is so already."""
    return x.contiguous(memory_format=torch.channels_last)
