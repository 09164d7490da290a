"""A module that keeps one dictionary of :mod:`nni_wcnas.functional.quantisation` in its buffers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nni_wcnas.functional.quantisation import (
    Dictionary,
    Statistics,
    assign,
    look_up,
    quantisation_loss,
    rows,
    updated,
)

__all__ = ['Quantiser']


class Quantiser(nn.Module):
    """A learned dictionary of feature vectors. Only :meth:`commit` changes it; the forward pass does not.

    Parameters
    ----------
    dictionary_size
        K, the number of codes.
    channels
        C, the length of a code.
    feed
        Pass on the quantised features, with a straight-through gradient. The published networks do not: their features
        go on as they are, and quantisation only regularises.
    """

    codes: Tensor
    """E, the codes, shape ``(K, C)``."""
    cluster_size: Tensor
    """N, the moving average of how many rows of a batch each code has, shape ``(K,)``."""
    sums: Tensor
    """M, the moving average of the sum of those rows, shape ``(K, C)``."""

    def __init__(self, dictionary_size: int, channels: int, *, feed: bool = False):
        super().__init__()
        self.feed = feed
        # Unit length on average. The published codes have entries, not lengths, of order one: all are then so far from
        # the features, which spectral normalisation keeps small, that the shortest code is the nearest to all of them.
        self.register_buffer('codes', torch.randn(dictionary_size, channels) / channels ** 0.5)
        # The published initial cluster size is zero with sums equal to the codes: the first update then divides a whole
        # code by almost nothing, and every code that no feature hits is thrown far away and stays dead. With ones, N
        # and M agree from the start (E = M / N) and a code that is not hit keeps its place.
        self.register_buffer('cluster_size', torch.ones(dictionary_size))
        self.register_buffer('sums', self.codes.clone())

    @property
    def dictionary(self) -> Dictionary:
        """The codes and their two moving averages: the live buffers, not copies."""
        return Dictionary(self.codes, self.cluster_size, self.sums)

    def forward(self, features: Tensor, momentum: Tensor,
                statistics: Statistics | None = None) -> tuple[Tensor, Tensor, Statistics]:
        """Compare features with the dictionary as it will be after this batch.

        Parameters
        ----------
        features
            Shape ``(N, C, H, W)``.
        momentum
            Scalar in (0, 1).
        statistics
            Statistics that an earlier call returned. They are held fixed, so that the same function is evaluated at
            other features. By default those of ``features``.

        Returns
        -------
        The features for the next block, shape ``(N, C, H, W)``; the quantisation loss, a scalar; the statistics used.
        """
        # Assigned by E, compared with E'(momentum). The published order compares with E as well, which leaves the loss
        # without a derivative in the momentum.
        if statistics is None:
            statistics = assign(rows(features), self.codes)
        codes = updated(self.dictionary, statistics, momentum).codes
        loss = quantisation_loss(features, statistics.indices, codes)
        return self._passed_on(features, statistics.indices, codes), loss, statistics

    def present(self, features: Tensor) -> Tensor:
        """Return the features for the next block: as they are or, with ``feed``, as codes of the present dictionary."""
        if not self.feed:
            return features
        return self._passed_on(features, assign(rows(features), self.codes).indices, self.codes)

    @torch.no_grad()
    def commit(self, statistics: Statistics, momentum: Tensor | float) -> None:
        """Move the dictionary to its state after the batch that ``statistics`` are of."""
        for buffer, value in zip(self.dictionary, updated(self.dictionary, statistics, momentum), strict=True):
            buffer.copy_(value)

    def _passed_on(self, features: Tensor, indices: Tensor, codes: Tensor) -> Tensor:
        """Return the features, or with ``feed`` their codes with a straight-through gradient."""
        # features - features.detach() is zero and has the derivative 1: the value is that of the codes, the gradient
        # reaches the features and, through the codes, the momentum.
        return look_up(codes, indices, features.shape) + (features - features.detach()) if self.feed else features
