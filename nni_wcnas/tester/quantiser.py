"""Holds one dictionary of :mod:`nni_wcnas.functional.quantisation` and its moving averages as buffers."""

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
    """A dictionary of feature vectors; its forward pass changes nothing, :meth:`commit` does.

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
    cluster_size: Tensor
    sums: Tensor

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
        """The live state."""
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
            Those of an earlier call, to hold fixed; by default those of ``features``.

        Returns
        -------
        The features to go on with, the quantisation loss, and the statistics used.
        """
        if statistics is None:
            statistics = assign(rows(features), self.codes)
        codes = updated(self.dictionary, statistics, momentum).codes
        loss = quantisation_loss(features, statistics.indices, codes)
        return self._passed_on(features, statistics.indices, codes), loss, statistics

    def present(self, features: Tensor) -> Tensor:
        """The features to go on with, quantised (if at all) with the dictionary as it is."""
        if not self.feed:
            return features
        return self._passed_on(features, assign(rows(features), self.codes).indices, self.codes)

    @torch.no_grad()
    def commit(self, statistics: Statistics, momentum: Tensor | float) -> None:
        """Let the dictionary learn from one batch."""
        for buffer, value in zip(self.dictionary, updated(self.dictionary, statistics, momentum), strict=True):
            buffer.copy_(value)

    def _passed_on(self, features: Tensor, indices: Tensor, codes: Tensor) -> Tensor:
        """The features, or the value of their codes with the gradient of both."""
        return look_up(codes, indices, features.shape) + (features - features.detach()) if self.feed else features
