"""Pointwise convolution and batch norm in one matrix product, for many branches at once.

A pointwise convolution W of features D, shape ``(M, C)`` with one row a pixel, has batch statistics that follow from
those of D: mean W mu and variance diag(W S W^T), where S is the covariance of D. So convolution, batch norm and
whatever factor follows it (the norm's own, an edge's mixing weight) are one affine map of D::

    z = g (W d - W mu) / sqrt(diag(W S W^T) + eps) + b  =  Q d + q

The output of the convolution never exists, nothing large but D is kept for the backward pass, and a sum of branches (a
node of a cell) is a chain of accumulating products. Cost: one more product, D^T D. The derivatives of the affine map in
(mu, S, W, g) are small matrices; the one in D is::

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
    """Means W mu, shape ``(B, C')``."""
    variance: Tensor
    """Variances diag(W S W^T), shape ``(B, C')``."""


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
    """Return the batch norm of the pointwise convolution of each branch, or sums of these over the branches.

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
        For each branch, the number of the sum that it goes into, counted from 0; None for no sums. The branches of one
        matrix must go into consecutive sums, in rising order and the same number of them into each.
    statistics
        Mean and variance to normalise by instead of the batch's own, as in evaluation mode.

    Returns
    -------
    For each matrix of features one of shape ``(M, b * C')``; with ``targets`` a single one, the T sums side by side, of
    shape ``(M, T * C')``. They have the precision of ``weights``, also under autocast, and are twice differentiable.
    The second result is the statistics that they were normalised by.
    """
    # A covariance in half precision would be noise.
    if torch.is_autocast_enabled(weights.device.type):
        with torch.autocast(weights.device.type, enabled=False):
            full = [x.to(weights.dtype) for x in features]
            return normalised(full, weights, gain, bias, epsilon, targets=targets, statistics=statistics)
    if statistics is not None:
        # Q = g r W and q = b - g r mean with given r = (v + eps)^-1/2: an affine map without moments to compute.
        matrix = (gain * (statistics.variance + epsilon).rsqrt()).unsqueeze(2) * weights
        shift = bias - gain * (statistics.variance + epsilon).rsqrt() * statistics.mean
        return _products(targets, features, matrix, shift), statistics
    # A compiler finds out itself what to keep for the backward pass, and is given plain operations to trace.
    if torch.compiler.is_compiling():
        mean, covariance = _moments(features, weights.shape[2])
        matrix, shift, variance = affine(mean, covariance, weights, gain, epsilon)
        moments = BatchStatistics(_apply(weights, mean).detach(), variance.detach())
        return _products(targets, features, matrix, shift + bias), moments
    *outputs, mean, variance = _Normalised.apply(targets, epsilon, weights, gain, bias, *features)
    return outputs, BatchStatistics(mean, variance)


def affine(mean: Tensor, covariance: Tensor, weights: Tensor, gain: Tensor,
           epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return the affine map that a pointwise convolution and its batch norm are together.

    Parameters
    ----------
    mean, covariance
        mu and S of the features, shapes ``(B, C)`` and ``(B, C, C)``.
    weights, gain, epsilon
        As in :func:`normalised`.

    Returns
    -------
    Q of shape ``(B, C', C)``; q without the bias, -Q mu of shape ``(B, C')``; and the variance of the convolution's
    output, diag(W S W^T) of shape ``(B, C')``.
    """
    # The diagonal alone: row i of W S times row i of W.
    variance = ((weights @ covariance) * weights).sum(2)  # (B, C')
    # Rounding can make the variance of a constant channel slightly negative.
    matrix = (gain * (variance.clamp(min=0) + epsilon).rsqrt()).unsqueeze(2) * weights  # (B, C', C)
    return matrix, -_apply(matrix, mean), variance


class _Place(NamedTuple):
    """Where the branches of one matrix of features are, and where they go."""

    branches: slice
    """The range of this matrix among all B branches."""
    sums: slice | None
    """The range of the sums that its branches go into, among all T sums; None where nothing is added up."""
    each: int
    """Number of its branches that go into one sum; 1 where nothing is added up."""


class _Normalised(torch.autograd.Function):
    """:func:`normalised` by the statistics of the batch, with the module's formula as its backward pass.

    The outputs are those of :func:`normalised`, then the means and the variances, which carry no gradient.
    """

    @staticmethod
    def forward(ctx: Any, targets: Sequence[int] | None, epsilon: float, weights: Tensor, gain: Tensor, bias: Tensor,
                *features: Tensor) -> tuple[Tensor, ...]:
        mean, covariance = _moments(features, weights.shape[2])
        matrix, shift, variance = affine(mean, covariance, weights, gain, epsilon)
        outputs = _products(targets, features, matrix, shift + bias)
        statistics = _apply(weights, mean), variance
        # No output is among what is kept, so a caller may write to the outputs in place.
        ctx.save_for_backward(mean, covariance, weights, gain, *features)
        ctx.targets, ctx.epsilon = targets, epsilon
        ctx.mark_non_differentiable(*statistics)
        return *outputs, *statistics

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        # The forward pass ran without autocast, and torch does not restore that for a backward pass.
        with torch.autocast(gradients[0].device.type, enabled=False):
            return _Normalised._gradients(ctx, *gradients)

    @staticmethod
    def _gradients(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        mean, covariance, weights, gain, *features = ctx.saved_tensors
        _, width, channels = weights.shape
        # Somebody differentiates twice. Saved moments have no graph, and would be constants: here they become
        # functions of the features again.
        if torch.is_grad_enabled():
            mean, covariance = _moments(features, channels)
            weights = held(weights)
        places = _places(features, channels, ctx.targets)
        # The last two gradients are those of the statistics, which have none.
        arriving = _arriving(places, gradients[:-2], width)
        # dq = db = sum of dz over rows: (T, C'), or (B, C') without sums.
        to_shift = torch.cat([g.sum(0) for g in gradients[:-2]]).view(-1, width)
        if ctx.targets is not None:
            # All branches of a sum get its gradient, (T, C') to (B, C').
            to_shift = to_shift.index_select(0, _index(ctx.targets, to_shift.device))
        # dQ = dz^T D, shape (B, C', C).
        to_matrix = torch.cat([
            _one_by_one(outer(g, d, g.shape[1] // width), place.each)
            for place, g, d in zip(places, arriving, features)
        ])
        found = _gradients_of_affine(mean, covariance, weights, gain, ctx.epsilon, to_matrix, to_shift)
        # dS is symmetric, so (dS + dS^T) / M is 2 dS / M. The row is (dmu - (dS + dS^T) mu) / M for all pixels.
        matrix, symmetric = found.matrix, found.to_covariance * (2 / len(features[0]))
        row = found.to_mean / len(features[0]) - _apply(symmetric, mean)
        to_features: list[Tensor | None] = [None] * len(features)
        for i, ((branches, _, each), g, d) in enumerate(zip(places, arriving, features)):
            # The features come after the five other arguments of the forward pass.
            if ctx.needs_input_grad[5 + i]:
                # dD = row + dz Q + D (dS + dS^T) / M, added up in one buffer.
                to_features[i] = total = _rows_of(row[branches], len(d))
                add_times(total, g, _joined(matrix[branches], each))
                add_times(total, d, symmetric[branches])
        return None, None, found.to_weights, found.to_gain, to_shift, *to_features


def _places(features: Sequence[Tensor], channels: int, targets: Sequence[int] | None) -> list[_Place]:
    """Return for each matrix of features where its branches are, given C and the sum of each branch."""
    places, start = [], 0
    for d in features:
        stop = start + d.shape[1] // channels
        sums, each = None, 1
        if targets is not None:
            # The targets of one matrix are consecutive: its first and last branch tell the range.
            sums = slice(targets[start], targets[stop - 1] + 1)
            each = (stop - start) // (sums.stop - sums.start)
        places.append(_Place(slice(start, stop), sums, each))
        start = stop
    return places


def _moments(features: Sequence[Tensor], channels: int) -> tuple[Tensor, Tensor]:
    """Return means, shape ``(B, C)``, and biased covariances, shape ``(B, C, C)``, of each branch's C columns."""
    mean = torch.cat([d.mean(0) for d in features]).view(-1, channels)
    # S = D^T D / M - mu mu^T: no centred copy of D is made.
    second = torch.cat([outer(d, d, d.shape[1] // channels) for d in features]) / len(features[0])
    return mean, second - mean.unsqueeze(2) * mean.unsqueeze(1)


def _products(targets: Sequence[int] | None, features: Sequence[Tensor], matrix: Tensor,
              shift: Tensor) -> list[Tensor]:
    """Return Q d + q of each branch, or the sums of these; shapes are those of the outputs of :func:`normalised`."""
    places, count = _places(features, matrix.shape[2], targets), len(features[0])
    if targets is None:
        outputs = columns = [_rows_of(shift[place.branches], count) for place in places]
    else:
        # Every row of a sum begins as the sum of its branches' q, (B, C') to (T, C').
        sums = shift.new_zeros(max(targets) + 1, shift.shape[1])
        sums = sums.index_add(0, _index(targets, shift.device), shift)
        outputs = [_rows_of(sums, count)]
        # Views: the products below are added to the one matrix of sums.
        columns = _arriving(places, outputs, shift.shape[1])
    for (branches, _, each), d, output in zip(places, features, columns):
        add_times(output, d, _joined(matrix[branches], each).transpose(1, 2))
    return outputs


def _index(targets: Sequence[int], device: torch.device) -> Tensor:
    """Return the targets as a tensor, shape ``(B,)``."""
    # A compiled graph does not go through the cache.
    if torch.compiler.is_compiling():
        return torch.tensor(targets, device=device)
    return _kept_index(tuple(targets), device)


@lru_cache(maxsize=256)
def _kept_index(targets: tuple[int, ...], device: torch.device) -> Tensor:
    """Return the targets as a tensor that is made once: a copy onto a GPU waits for everything asked of it before."""
    # A tensor made in inference mode could not be saved for a later backward pass, and this one outlives the mode.
    with torch.inference_mode(False):
        return torch.tensor(targets, device=device)


def _arriving(places: Sequence[_Place], outputs: Sequence[Tensor], width: int) -> list[Tensor]:
    """Return for each matrix of features the columns of the outputs that its branches go into, as views.

    ``width`` is C'. Without sums each matrix has an output of its own, with them all share one.
    """
    return [
        outputs[i] if place.sums is None else outputs[0][:, place.sums.start * width : place.sums.stop * width]
        for i, place in enumerate(places)
    ]


def _rows_of(values: Tensor, count: int) -> Tensor:
    """Return the values, shape ``(B, C)``, as ``count`` equal rows, shape ``(M, B * C)``, which may be written to."""
    # Expanded rows share their memory, so nothing can be added to them without a copy.
    return values.flatten().expand(count, -1).clone(memory_format=torch.contiguous_format)


def _joined(matrices: Tensor, each: int) -> Tensor:
    """Return one matrix for all ``each`` branches of a sum, from shape ``(B, C', C)`` to ``(T, C', each * C)``."""
    # Branches of one sum are neighbours: (T, each, C', C), then (T, C', each, C).
    return matrices if each == 1 else matrices.unflatten(0, (-1, each)).transpose(1, 2).flatten(2)


def _one_by_one(matrices: Tensor, each: int) -> Tensor:
    """Return the matrix of each branch, the inverse of :func:`_joined`: ``(T, C', each * C)`` to ``(B, C', C)``."""
    # (T, C', each, C), then (T, each, C', C).
    return matrices if each == 1 else matrices.unflatten(2, (each, -1)).transpose(1, 2).flatten(0, 1)


def _apply(matrices: Tensor, vectors: Tensor) -> Tensor:
    """Return matrices ``(B, C', C)`` times vectors ``(B, C)``, shape ``(B, C')``."""
    return (matrices @ vectors.unsqueeze(2)).squeeze(2)


class _Gradients(NamedTuple):
    """The gradients of :func:`affine`, and the matrix that it computes on the way."""

    matrix: Tensor
    """Q itself, shape ``(B, C', C)``."""
    to_mean: Tensor
    """dmu, shape ``(B, C)``."""
    to_covariance: Tensor
    """dS, symmetric, shape ``(B, C, C)``."""
    to_weights: Tensor
    """dW, shape ``(B, C', C)``."""
    to_gain: Tensor
    """dg, shape ``(B, C')``."""


def _gradients_of_affine(mean: Tensor, covariance: Tensor, weights: Tensor, gain: Tensor, epsilon: float,
                         to_matrix: Tensor, to_shift: Tensor) -> _Gradients:
    """Return the gradients of :func:`affine`, given those of Q, shape ``(B, C', C)``, and of q, shape ``(B, C')``.

    With the variance v, and dv as a diagonal matrix where it stands in a product::

        dQ' = dQ - dq mu^T      dmu = -Q^T dq      h = sum over C of dQ' W      r = (v + eps)^-1/2
        dg = h r                dv = -g h r^3 / 2  dS = W^T dv W                dW = g r dQ' + 2 dv W S
    """
    variance = ((weights @ covariance) * weights).sum(2)
    inverse = (variance.clamp(min=0) + epsilon).rsqrt()
    scale = (gain * inverse).unsqueeze(2)
    matrix = scale * weights
    # dQ': q = b - Q mu sends its gradient to Q as well.
    to_matrix = torch.baddbmm(to_matrix, to_shift.unsqueeze(2), mean.unsqueeze(1), alpha=-1)
    to_gain = (to_matrix * weights).sum(2) * inverse
    # h r comes from the line above; the comparison is the derivative of the clamp.
    to_variance = gain * to_gain * inverse.square() * (variance >= 0) * -0.5
    weighted = to_variance.unsqueeze(2) * weights
    return _Gradients(
        matrix,
        -_apply(matrix.transpose(1, 2), to_shift),
        weighted.transpose(1, 2) @ weights,
        torch.baddbmm(scale * to_matrix, weighted, covariance, alpha=2),
        to_gain,
    )
