"""Pointwise convolution and batch norm in one matrix product, for many branches at once.

A pointwise convolution W of features D, shape ``(M, C)`` with one row a pixel, has batch statistics that follow from
those of D: mean W mu and variance diag(W S W^T), where S is the covariance of D. So convolution, batch norm and
whatever factor follows it (the norm's own, an edge's mixing weight) are one affine map of D::

    z = g (W d - W mu) / sqrt(diag(W S W^T) + eps) + b  =  Q d + q

The output of the convolution never exists, nothing but D is kept for the backward pass, and a sum of branches (a node
of a cell) is a chain of accumulating products. Cost: one more product, D^T D. The derivative of the affine map in
(mu, S, W, g) is left to autograd, on small matrices; the one in D is::

    dD = dz Q + D (dS + dS^T) / M + (dmu - (dS + dS^T) mu) / M
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nni_wcnas.functional.mixed_derivative import held

__all__ = ['BatchStatistics', 'affine', 'normalised']


class BatchStatistics(NamedTuple):
    """Mean and biased variance of the outputs of B pointwise convolutions; without gradient."""

    mean: Tensor
    """Shape ``(B, C')``."""
    variance: Tensor
    """Shape ``(B, C')``."""


def normalised(
    features: Sequence[Tensor],
    weights: Tensor,
    gain: Tensor,
    bias: Tensor,
    epsilon: float,
    *,
    total: bool = False,
    statistics: BatchStatistics | None = None,
) -> tuple[list[Tensor], BatchStatistics]:
    """Batch norm of the pointwise convolution of each branch, or the sum over the branches.

    Parameters
    ----------
    features
        B matrices D of shape ``(M, C)``, one row a pixel.
    weights
        W, shape ``(B, C', C)``.
    gain, bias
        g and b, shape ``(B, C')``.
    epsilon
        Added to the variances.
    total
        Whether to add up the branches.
    statistics
        What to normalise by instead of the batch's own, as in evaluation mode.

    Returns
    -------
    B matrices of shape ``(M, C')``, or one if ``total``, in the precision of ``weights`` also under autocast; and what
    they were normalised by. Twice differentiable.
    """
    if torch.is_autocast_enabled(weights.device.type):  # A covariance in half precision would be noise.
        with torch.autocast(weights.device.type, enabled=False):
            full = [x.to(weights.dtype) for x in features]
            return normalised(full, weights, gain, bias, epsilon, total=total, statistics=statistics)
    if statistics is not None:
        matrix = (gain * (statistics.variance + epsilon).rsqrt()).unsqueeze(2) * weights
        shift = bias - gain * (statistics.variance + epsilon).rsqrt() * statistics.mean
        return _products(total, features, matrix, shift), statistics
    if torch.compiler.is_compiling():  # A compiler finds out itself what to keep, and knows no derivatives inside ours.
        mean, covariance = _moments(features)
        matrix, shift, variance = affine(mean, covariance, weights, gain, epsilon)
        moments = BatchStatistics(_apply(weights, mean).detach(), variance.detach())
        return _products(total, features, matrix, shift + bias), moments
    *outputs, mean, variance = _Normalised.apply(total, epsilon, weights, gain, bias, *features)
    return outputs, BatchStatistics(mean, variance)


def affine(mean: Tensor, covariance: Tensor, weights: Tensor, gain: Tensor,
           epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
    """Q, q without the bias, and the variance of the convolution's output.

    Parameters
    ----------
    mean, covariance
        Of the features, shapes ``(B, C)`` and ``(B, C, C)``.
    weights, gain, epsilon
        As in :func:`normalised`.
    """
    variance = ((weights @ covariance) * weights).sum(2)  # (B, C')
    # Rounding makes the variance of a constant channel slightly negative.
    matrix = (gain * (variance.clamp(min=0) + epsilon).rsqrt()).unsqueeze(2) * weights  # (B, C', C)
    return matrix, -_apply(matrix, mean), variance


class _Normalised(torch.autograd.Function):
    """:func:`normalised` by the statistics of the batch."""

    @staticmethod
    def forward(ctx: Any, total: bool, epsilon: float, weights: Tensor, gain: Tensor, bias: Tensor,
                *features: Tensor) -> tuple[Tensor, ...]:
        mean, covariance = _moments(features)
        matrix, shift, variance = affine(mean, covariance, weights, gain, epsilon)
        outputs = _products(total, features, matrix, shift + bias)
        statistics = _apply(weights, mean), variance
        ctx.save_for_backward(mean, covariance, weights, gain, *features)
        ctx.total, ctx.epsilon = total, epsilon
        ctx.mark_non_differentiable(*statistics)
        return *outputs, *statistics

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        with torch.autocast(gradients[0].device.type, enabled=False):  # As the forward pass was.
            return _Normalised._gradients(ctx, *gradients)

    @staticmethod
    def _gradients(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        mean, covariance, weights, gain, *features = ctx.saved_tensors
        if torch.is_grad_enabled():  # Somebody differentiates twice: then the moments are no constants.
            mean, covariance = _moments(features)
            weights = held(weights)
        arriving = gradients[:1] * len(features) if ctx.total else gradients[:-2]
        to_shift = _stacked_once(arriving, ctx.total, lambda g: g.sum(0))
        to_matrix = torch.stack([g.T @ d for g, d in zip(arriving, features)])
        matrix, small = _small_gradients((mean, covariance, weights, gain), ctx.epsilon, to_matrix, to_shift)
        to_mean, to_covariance, to_weights, to_gain = small
        symmetric = (to_covariance + to_covariance.transpose(1, 2)) / len(features[0])
        row = to_mean / len(features[0]) - _apply(symmetric, mean)
        to_features = [
            torch.addmm(row[i], g, matrix[i]).addmm_(d, symmetric[i]) if needed else None
            for i, (g, d, needed) in enumerate(zip(arriving, features, ctx.needs_input_grad[5:]))
        ]
        return None, None, to_weights, to_gain, to_shift, *to_features


def _moments(features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Means ``(B, C)`` and covariances ``(B, C, C)`` of the rows."""
    mean = torch.stack([d.mean(0) for d in features])
    second = torch.stack([d.T @ d for d in features]) / len(features[0])
    return mean, second - mean.unsqueeze(2) * mean.unsqueeze(1)


def _products(total: bool, features: Sequence[Tensor], matrix: Tensor, shift: Tensor) -> list[Tensor]:
    """Q d + q of each branch, or their sum."""
    if not total:
        return [torch.addmm(shift[i], d, matrix[i].T) for i, d in enumerate(features)]
    output = torch.addmm(shift.sum(0), features[0], matrix[0].T)
    for d, q in zip(features[1:], matrix[1:]):
        output.addmm_(d, q.T)
    return [output]


def _apply(matrices: Tensor, vectors: Tensor) -> Tensor:
    """``(B, C', C)`` times ``(B, C)``."""
    return (matrices @ vectors.unsqueeze(2)).squeeze(2)


def _stacked_once(gradients: Sequence[Tensor], same: bool, function: Any) -> Tensor:
    """``function`` of each gradient, computed once where they are all the same."""
    if same:
        return function(gradients[0]).expand(len(gradients), -1)
    return torch.stack([function(g) for g in gradients])


def _small_gradients(inputs: tuple[Tensor, ...], epsilon: float, to_matrix: Tensor,
                     to_shift: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Q, and the gradients of (mean, covariance, weights, gain), given those of the affine map; differentiable where
    gradients are on."""
    differentiable = torch.is_grad_enabled()
    with torch.enable_grad():
        # Aliases: one input may depend on another, and the gradient shall end at each.
        aliases = [x.view_as(x) if x.requires_grad else x.detach().requires_grad_() for x in inputs]
        mean, covariance, weights, gain = aliases
        matrix, shift, _ = affine(mean, covariance, weights, gain, epsilon)
        small = torch.autograd.grad((matrix, shift), aliases, (to_matrix, to_shift), create_graph=differentiable)
    return matrix, small
