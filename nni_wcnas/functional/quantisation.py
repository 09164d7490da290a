"""Feature quantisation with a dictionary that follows the features by a moving average, as pure functions.

The dictionary has K codes of C entries. Each is the mean of the features assigned to it, as a ratio of two moving
averages with momentum lambda: the sum of those features, M, and their number, N. With Laplace smoothing,
epsilon = 1e-5::

    N' = lambda N + (1 - lambda) counts        M' = lambda M + (1 - lambda) sums
    E' = M' / ((N' + epsilon) / (sum N' + K epsilon) * sum N')

Deviation from FQ-GAN's published order: there the loss is taken against the old codes E and the update follows outside
of the graph, so that the derivative in lambda is identically zero and learning lambda does nothing. Here the update is
a function, the loss is taken against E'(lambda), and whoever owns the dictionary commits E' afterwards. What the batch
contributes (assignment, counts, sums) is a constant of the loss: :class:`Statistics` holds it, and passing the same one
again evaluates the same function of the features.

References
----------
Zhao et al., Feature Quantization Improves GAN Training, 2020; van den Oord et al., Neural Discrete Representation
Learning, 2017, appendix A.1.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ['Dictionary', 'Statistics', 'assign', 'look_up', 'quantisation_loss', 'rows', 'updated']


class Dictionary(NamedTuple):
    """The codes and the two moving averages behind them."""

    codes: Tensor
    """E, shape ``(K, C)``."""
    cluster_size: Tensor
    """N, shape ``(K,)``, in rows per batch."""
    sums: Tensor
    """M, shape ``(K, C)``."""


class Statistics(NamedTuple):
    """What one batch of R rows contributes to the dictionary; these tensors carry no gradient."""

    indices: Tensor
    """Nearest code of each row, shape ``(R,)``, dtype int64."""
    counts: Tensor
    """Rows assigned to each code, shape ``(K,)``."""
    sums: Tensor
    """Sum of the rows assigned to each code, shape ``(K, C)``."""


def rows(features: Tensor) -> Tensor:
    """Return features as one row for each pixel: ``(N, C, H, W)`` becomes ``(N * H * W, C)``."""
    return features.permute(0, 2, 3, 1).flatten(0, 2)


@torch.no_grad()
def assign(rows: Tensor, codes: Tensor) -> Statistics:
    """Assign each row to its nearest code in squared Euclidean distance; of equally near codes the first.

    Parameters
    ----------
    rows
        Features of R pixels, shape ``(R, C)``, as :func:`rows` makes them.
    codes
        E, shape ``(K, C)``.

    Returns
    -------
    Assignment, counts and sums, without gradient.

    Examples
    --------
    >>> assign(torch.tensor([[0.9], [1.3], [-2.0]]), torch.tensor([[1.0], [-1.0]])).indices
    tensor([0, 0, 1])
    """
    rows = rows.to(codes.dtype)
    # The row's own squared norm shifts all its distances alike, so it is left out. Half precision would confuse
    # neighbouring codes.
    with torch.autocast(codes.device.type, enabled=False):
        indices = torch.addmm(codes.square().sum(dim=1), rows, codes.T, alpha=-2).argmin(dim=1)  # (R, K) -> (R,)
    # Not bincount: it would wait for a GPU.
    counts = codes.new_zeros(len(codes)).index_add_(0, indices, codes.new_ones(len(indices)))
    sums = torch.zeros_like(codes).index_add_(0, indices, rows)
    return Statistics(indices, counts, sums)


def updated(dictionary: Dictionary, statistics: Statistics, momentum: Tensor | float, *,
            epsilon: float = 1e-5) -> Dictionary:
    """Return the dictionary after one batch, differentiable in ``momentum``; the arguments stay as they are.

    Parameters
    ----------
    dictionary
        The state before the batch.
    statistics
        What the batch contributes.
    momentum
        lambda in [0, 1), scalar; the weight of the past.
    epsilon
        Laplace smoothing of the cluster sizes.

    Returns
    -------
    The state after the batch.
    """
    # N' and M' of the module docstring. Not in place: their graph is what leads to the momentum.
    cluster_size = momentum * dictionary.cluster_size + (1 - momentum) * statistics.counts
    sums = momentum * dictionary.sums + (1 - momentum) * statistics.sums
    total = cluster_size.sum()
    # Laplace smoothing keeps the divisor of a code that is never hit above 0, and the total as it is.
    smoothed = (cluster_size + epsilon) / (total + len(cluster_size) * epsilon) * total
    return Dictionary(sums / smoothed.unsqueeze(1), cluster_size, sums)


def look_up(codes: Tensor, indices: Tensor, shape: torch.Size) -> Tensor:
    """Arrange the code of each of the :func:`rows` as a feature map of ``shape`` ``(N, C, H, W)``.

    It is differentiable in ``codes``; ``indices`` has shape ``(N * H * W,)``.
    """
    count, channels, height, width = shape
    # The inverse of ``rows``. The backward pass of an embedding adds up the gradients of the rows of each code.
    return F.embedding(indices, codes).view(count, height, width, channels).permute(0, 3, 1, 2)


def quantisation_loss(features: Tensor, indices: Tensor, codes: Tensor) -> Tensor:
    """Return the mean squared distance between features and their codes, over batch, channels and pixels.

    Differentiable in the features and, other than in the published loss, in the codes: through them in the dictionary's
    momentum. The assignment is a constant.

    Parameters
    ----------
    features
        Features of the images, shape ``(N, C, H, W)``.
    indices
        Code of each row of the features, shape ``(N * H * W,)``.
    codes
        E', shape ``(K, C)``.

    Returns
    -------
    Scalar.

    Examples
    --------
    >>> quantisation_loss(torch.full((1, 2, 1, 1), 3.0), torch.tensor([0]), torch.tensor([[1.0, 3.0]]))
    tensor(2.)
    """
    return (look_up(codes, indices, features.shape) - features).square().mean()
