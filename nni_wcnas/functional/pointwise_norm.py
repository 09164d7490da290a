"""Pointwise convolution and batch norm in one matrix product, for many branches at once.

A pointwise convolution W of features D, shape ``(M, C)`` with one row a pixel, has batch statistics that follow from
those of D: mean W mu and variance diag(W S W^T), where S is the covariance of D. So convolution, batch norm and
whatever factor follows it (the norm's own, an edge's mixing weight) are one affine map of D::

    z = g (W d - W mu) / sqrt(diag(W S W^T) + eps) + b  =  Q d + q

The output of the convolution never exists, nothing but D is kept for the backward pass, and a sum of branches (a node
of a cell) is a chain of accumulating products. Cost: one more product, D^T D. The derivative of the affine map in
(mu, S, W, g) is of small matrices; the one in D is::

    dD = dz Q + D (dS + dS^T) / M + (dmu - (dS + dS^T) mu) / M
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nni_wcnas.functional.mixed_derivative import held
from nni_wcnas.functional.side_by_side import add_times, outer

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
    targets: Sequence[int] | None = None,
    statistics: BatchStatistics | None = None,
) -> tuple[list[Tensor], BatchStatistics]:
    """Batch norm of the pointwise convolution of each branch, or sums over the branches.

    Parameters
    ----------
    features
        Matrices of one row a pixel: D of one branch, shape ``(M, C)``, or of several side by side, shape
        ``(M, b * C)``; B branches in all.
    weights
        W, shape ``(B, C', C)``.
    gain, bias
        g and b, shape ``(B, C')``.
    epsilon
        Added to the variances.
    targets
        By branch, the sum that it goes into, counted from 0; None for no sums. The branches of one matrix go into
        consecutive sums, the same number of them into each.
    statistics
        What to normalise by instead of the batch's own, as in evaluation mode.

    Returns
    -------
    Matrices of shape ``(M, b * C')``, or one of the T sums side by side, shape ``(M, T * C')``, in the precision of
    ``weights`` also under autocast; and what they were normalised by. Twice differentiable.
    """
    if torch.is_autocast_enabled(weights.device.type):  # A covariance in half precision would be noise.
        with torch.autocast(weights.device.type, enabled=False):
            full = [x.to(weights.dtype) for x in features]
            return normalised(full, weights, gain, bias, epsilon, targets=targets, statistics=statistics)
    if statistics is not None:
        matrix = (gain * (statistics.variance + epsilon).rsqrt()).unsqueeze(2) * weights
        shift = bias - gain * (statistics.variance + epsilon).rsqrt() * statistics.mean
        return _products(targets, features, matrix, shift), statistics
    if torch.compiler.is_compiling():  # A compiler finds out itself what to keep, and knows no derivatives inside ours.
        mean, covariance = _moments(features, weights.shape[2])
        matrix, shift, variance = affine(mean, covariance, weights, gain, epsilon)
        moments = BatchStatistics(_apply(weights, mean).detach(), variance.detach())
        return _products(targets, features, matrix, shift + bias), moments
    *outputs, mean, variance = _Normalised.apply(targets, epsilon, weights, gain, bias, *features)
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


class _Place(NamedTuple):
    """Where the branches of one matrix of features are, and where they go."""

    branches: slice
    """Of all branches."""
    sums: slice | None
    """Of all sums; None where nothing is added up."""
    each: int
    """Branches that go into one sum."""


class _Normalised(torch.autograd.Function):
    """:func:`normalised` by the statistics of the batch."""

    @staticmethod
    def forward(ctx: Any, targets: Sequence[int] | None, epsilon: float, weights: Tensor, gain: Tensor, bias: Tensor,
                *features: Tensor) -> tuple[Tensor, ...]:
        mean, covariance = _moments(features, weights.shape[2])
        matrix, shift, variance = affine(mean, covariance, weights, gain, epsilon)
        outputs = _products(targets, features, matrix, shift + bias)
        statistics = _apply(weights, mean), variance
        ctx.save_for_backward(mean, covariance, weights, gain, *features)
        ctx.targets, ctx.epsilon = targets, epsilon
        ctx.mark_non_differentiable(*statistics)
        return *outputs, *statistics

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        with torch.autocast(gradients[0].device.type, enabled=False):  # As the forward pass was.
            return _Normalised._gradients(ctx, *gradients)

    @staticmethod
    def _gradients(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        mean, covariance, weights, gain, *features = ctx.saved_tensors
        _, width, channels = weights.shape
        if torch.is_grad_enabled():  # Somebody differentiates twice: then the moments are no constants.
            mean, covariance = _moments(features, channels)
            weights = held(weights)
        places = _places(features, channels, ctx.targets)
        arriving = _arriving(places, gradients[:-2], width)
        to_shift = torch.cat([g.sum(0) for g in gradients[:-2]]).view(-1, width)
        if ctx.targets is not None:
            to_shift = to_shift.index_select(0, _index(ctx.targets, to_shift.device))
        to_matrix = torch.cat([
            _one_by_one(outer(g, d, g.shape[1] // width), place.each)
            for place, g, d in zip(places, arriving, features)
        ])
        found = _gradients_of_affine(mean, covariance, weights, gain, ctx.epsilon, to_matrix, to_shift)
        matrix, symmetric = found.matrix, found.to_covariance * (2 / len(features[0]))
        row = found.to_mean / len(features[0]) - _apply(symmetric, mean)
        to_features: list[Tensor | None] = [None] * len(features)
        for i, ((branches, _, each), g, d) in enumerate(zip(places, arriving, features)):
            if ctx.needs_input_grad[5 + i]:
                to_features[i] = total = _rows_of(row[branches], len(d))
                add_times(total, g, _joined(matrix[branches], each))
                add_times(total, d, symmetric[branches])
        return None, None, found.to_weights, found.to_gain, to_shift, *to_features


def _places(features: Sequence[Tensor], channels: int, targets: Sequence[int] | None) -> list[_Place]:
    """Where the branches of each matrix are."""
    places, start = [], 0
    for d in features:
        stop = start + d.shape[1] // channels
        sums, each = None, 1
        if targets is not None:
            sums = slice(targets[start], targets[stop - 1] + 1)
            each = (stop - start) // (sums.stop - sums.start)
        places.append(_Place(slice(start, stop), sums, each))
        start = stop
    return places


def _moments(features: Sequence[Tensor], channels: int) -> tuple[Tensor, Tensor]:
    """Means ``(B, C)`` and covariances ``(B, C, C)`` of the rows."""
    mean = torch.cat([d.mean(0) for d in features]).view(-1, channels)
    second = torch.cat([outer(d, d, d.shape[1] // channels) for d in features]) / len(features[0])
    return mean, second - mean.unsqueeze(2) * mean.unsqueeze(1)


def _products(targets: Sequence[int] | None, features: Sequence[Tensor], matrix: Tensor,
              shift: Tensor) -> list[Tensor]:
    """Q d + q of each branch, or their sums."""
    places, count = _places(features, matrix.shape[2], targets), len(features[0])
    if targets is None:
        outputs = columns = [_rows_of(shift[place.branches], count) for place in places]
    else:
        sums = shift.new_zeros(max(targets) + 1, shift.shape[1])
        sums = sums.index_add(0, _index(targets, shift.device), shift)
        outputs = [_rows_of(sums, count)]
        columns = _arriving(places, outputs, shift.shape[1])
    for (branches, _, each), d, output in zip(places, features, columns):
        add_times(output, d, _joined(matrix[branches], each).transpose(1, 2))
    return outputs


def _index(targets: Sequence[int], device: torch.device) -> Tensor:
    """The targets as a tensor."""
    if torch.compiler.is_compiling():
        return torch.tensor(targets, device=device)
    return _kept_index(tuple(targets), device)


@lru_cache(maxsize=256)
def _kept_index(targets: tuple[int, ...], device: torch.device) -> Tensor:
    """Kept, as a copy onto a GPU waits for everything that was asked of it before."""
    with torch.inference_mode(False):
        return torch.tensor(targets, device=device)


def _arriving(places: Sequence[_Place], outputs: Sequence[Tensor], width: int) -> list[Tensor]:
    """By matrix of features, the columns that its branches go into."""
    return [
        outputs[i] if place.sums is None else outputs[0][:, place.sums.start * width : place.sums.stop * width]
        for i, place in enumerate(places)
    ]


def _rows_of(values: Tensor, count: int) -> Tensor:
    """``(B, C)`` as so many equal rows, shape ``(M, B * C)``."""
    return values.flatten().expand(count, -1).clone(memory_format=torch.contiguous_format)


def _joined(matrices: Tensor, each: int) -> Tensor:
    """``(B, C', C)`` to ``(T, C', B / T * C)``: one matrix for all branches of a sum."""
    return matrices if each == 1 else matrices.unflatten(0, (-1, each)).transpose(1, 2).flatten(2)


def _one_by_one(matrices: Tensor, each: int) -> Tensor:
    """The inverse of :func:`_joined`."""
    return matrices if each == 1 else matrices.unflatten(2, (each, -1)).transpose(1, 2).flatten(0, 1)


def _apply(matrices: Tensor, vectors: Tensor) -> Tensor:
    """``(B, C', C)`` times ``(B, C)``."""
    return (matrices @ vectors.unsqueeze(2)).squeeze(2)


class _Gradients(NamedTuple):
    matrix: Tensor
    """Q itself."""
    to_mean: Tensor
    to_covariance: Tensor
    """Symmetric."""
    to_weights: Tensor
    to_gain: Tensor


def _gradients_of_affine(mean: Tensor, covariance: Tensor, weights: Tensor, gain: Tensor, epsilon: float,
                         to_matrix: Tensor, to_shift: Tensor) -> _Gradients:
    """The gradients of :func:`affine`, given those of Q and q::

        dQ' = dQ - dq mu^T      dmu = -Q^T dq      h = sum over C of dQ' W      r = (v + eps)^-1/2
        dg = h r                dv = -g h r^3 / 2  dS = W^T dv W                dW = g r dQ' + 2 dv W S
    """
    variance = ((weights @ covariance) * weights).sum(2)
    inverse = (variance.clamp(min=0) + epsilon).rsqrt()
    scale = (gain * inverse).unsqueeze(2)
    matrix = scale * weights
    to_matrix = torch.baddbmm(to_matrix, to_shift.unsqueeze(2), mean.unsqueeze(1), alpha=-1)
    to_gain = (to_matrix * weights).sum(2) * inverse
    to_variance = gain * to_gain * inverse.square() * (variance >= 0) * -0.5
    weighted = to_variance.unsqueeze(2) * weights
    return _Gradients(
        matrix,
        -_apply(matrix.transpose(1, 2), to_shift),
        weighted.transpose(1, 2) @ weights,
        torch.baddbmm(scale * to_matrix, weighted, covariance, alpha=2),
        to_gain,
    )
