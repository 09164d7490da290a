"""Batch norm by the statistics of the batch, whose second backward pass is a few fused operations.

With x^ = (x - mean) r, r = 1 / sqrt(variance + epsilon), M values a channel, and the self-adjoint map
P g = r (g - mean(g) - x^ mean(g x^)), the first derivatives of y = gain x^ + bias are::

    dx = gain P g        dgain = sum g x^        dbias = sum g

and for cotangents c, u, b of these three, autograd's second pass is::

    to g     gain P c + u x^ + b
    to x     (u - gain r mean(c x^)) P g - gain r mean(g x^) P c - gain r mean(c P g) x^
    to gain  sum c P g

torch's own second pass computes the same numbers by some twenty elementwise operations. They take a third of the time
of a second derivative in NAS-Bench-201's space on a CPU.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ['batch_norm']


def batch_norm(x: Tensor, gain: Tensor | None, bias: Tensor | None, epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
    """Normalise each channel by its own mean and biased variance.

    Parameters
    ----------
    x
        Shape ``(N, C, H, W)``.
    gain, bias
        Shape ``(C,)``, or both None.
    epsilon
        Added to the variances.

    Returns
    -------
    The normalised ``x``, shape ``(N, C, H, W)``, as often differentiable as torch's; then the means and
    r = 1 / sqrt(variance + epsilon), both of shape ``(C,)`` and without gradient.
    """
    return _BatchNorm.apply(x, gain, bias, epsilon)


class _BatchNorm(torch.autograd.Function):
    """y = gain x^ + bias, with the means and r beside it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor | None, bias: Tensor | None,
                epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
        # No running statistics, hence the two None and the momentum of 0; the third result is r.
        output, mean, inverse = torch.native_batch_norm(x, gain, bias, None, None, True, 0.0, epsilon)
        ctx.save_for_backward(x, gain, mean, inverse)
        ctx.epsilon = epsilon
        ctx.mark_non_differentiable(mean, inverse)
        return output, mean, inverse

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, gain, mean, inverse = ctx.saved_tensors
        # Mean and r enter as constants: _Backward's own derivative accounts for their dependence on x.
        return *_Backward.apply(gradients[0], x, gain, mean, inverse, ctx.epsilon), None


class _Backward(torch.autograd.Function):
    """The first backward pass: dx, dgain and dbias, given dy; the last two are None without a gain."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, x: Tensor, gain: Tensor | None, mean: Tensor, inverse: Tensor,
                epsilon: float) -> tuple[Tensor | None, ...]:
        # Without the gain: the second pass needs P g itself, and dx is only a product away.
        projected, to_gain, to_bias = _projected(gradient, x, mean, inverse, epsilon)
        ctx.save_for_backward(gradient, x, gain, mean, inverse, projected, to_gain)
        ctx.epsilon = epsilon
        if gain is None:
            return projected, None, None
        return projected * _per_channel(gain), to_gain, to_bias

    @staticmethod
    def backward(ctx: Any, c: Tensor, u: Tensor | None, b: Tensor | None) -> tuple[Tensor | None, ...]:
        gradient, x, gain, mean, inverse, projected, to_gain = ctx.saved_tensors
        # The formulas below are not differentiable themselves; a third derivative is left to torch.
        if torch.is_grad_enabled():
            return *_by_torch(gradient, x, gain, ctx.epsilon, (c, u, b)), None, None, None
        count = x.numel() // x.shape[1]  # M
        # P c and sum c x^; the lines below follow the module's "to gain", "to x" and "to g".
        c_projected, c_to_gain, _ = _projected(c, x, mean, inverse, ctx.epsilon)
        meeting = (c * projected).sum((0, 2, 3))  # sum c P g, shape (C,)
        # gain r / M times a sum is gain r times the mean.
        scale = inverse / count if gain is None else gain * inverse / count
        weight_of_g = -scale * c_to_gain if u is None else u - scale * c_to_gain
        # x^ = (x - mean) r enters as an affine map of x, slope x - slope mean, so that x^ itself is never stored.
        slope = -scale * meeting * inverse
        to_x = torch.addcmul(_per_channel(-slope * mean), x, _per_channel(slope))
        to_x = to_x.addcmul_(projected, _per_channel(weight_of_g)).addcmul_(c_projected, _per_channel(-scale * to_gain))
        to_gradient = c_projected
        if gain is not None:
            to_gradient = to_gradient * _per_channel(gain)
            if u is not None:
                # u x^, again as an affine map of x.
                to_gradient.addcmul_(x, _per_channel(u * inverse)).sub_(_per_channel(u * inverse * mean))
            if b is not None:
                to_gradient.add_(_per_channel(b))
        return to_gradient, to_x, None if gain is None else meeting, None, None, None


def _by_torch(gradient: Tensor, x: Tensor, gain: Tensor | None, epsilon: float,
              cotangents: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
    """Return the second pass to dy, x and gain, made of operations that autograd can differentiate again.

    ``cotangents`` are c, u and b of the module's formulas; the last result is None without a gain.
    """
    # Aliases: one may depend on another (dy on x, say), and these gradients shall end at each. What requires no
    # gradient becomes a new leaf, as torch.autograd.grad refuses it otherwise.
    gradient, x = (a.view_as(a) if a.requires_grad else a.detach().requires_grad_() for a in (gradient, x))
    affine = []
    if gain is not None:
        affine = [gain.view_as(gain) if gain.requires_grad else gain.detach().requires_grad_()]
        # The value of the bias does not matter to any derivative.
        affine.append(torch.zeros_like(gain, requires_grad=True))
    scale, shift = affine or (None, None)
    y = F.batch_norm(x, None, None, scale, shift, training=True, eps=epsilon)
    first = torch.autograd.grad(y, (x, *affine), gradient, create_graph=True)
    # Without a gain there are no dgain and dbias, and so only the first cotangent.
    wanted = (gradient, x, *affine[:1])
    found = torch.autograd.grad(first, wanted, cotangents[: len(first)], create_graph=True, materialize_grads=True)
    return found if affine else (*found, None)


def _projected(gradient: Tensor, x: Tensor, mean: Tensor, inverse: Tensor,
               epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return P g, shape ``(N, C, H, W)``, then sum g x^ and sum g, shape ``(C,)``."""
    # The backward pass of a batch norm without gain is P itself.
    return torch.ops.aten.native_batch_norm_backward(
        gradient, x, None, None, None, mean, inverse, True, epsilon, [True, True, True])


def _per_channel(values: Tensor) -> Tensor:
    """Return ``(C,)`` as a view ``(1, C, 1, 1)`` that broadcasts over an image."""
    return values.view(1, -1, 1, 1)
