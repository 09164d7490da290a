"""The running statistics of batch norms whose arithmetic was done elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ['RunningAverages', 'uses_batch']


def uses_batch(norm: nn.BatchNorm2d) -> bool:
    """Whether a batch norm normalises by the statistics of its batch."""
    return norm.training or norm.running_mean is None


class RunningAverages:
    """Collects what batch norms of one momentum saw in a forward pass, and moves all of their averages at once."""

    def __init__(self, momentum: float) -> None:
        self._momentum = momentum
        self._averages: list[Tensor] = []
        self._values: list[Tensor] = []
        self._counters: list[Tensor] = []

    def add(self, norms: Sequence[nn.BatchNorm2d], means: Tensor, variances: Tensor, count: int) -> None:
        """Note the means and biased variances, shape ``(B, C)``, that B norms saw of ``count`` values a channel.

        Raises
        ------
        ValueError
            When there is a single value, as torch's batch norm does.
        """
        if count == 1:
            raise ValueError('Batch norm needs more than one value per channel in training; use a larger batch')
        unbiased = variances * (count / (count - 1))
        for norm, mean, variance in zip(norms, means.unbind(), unbiased.unbind()):
            if not norm.training or not norm.track_running_stats:
                continue
            if norm.running_mean is None or norm.running_var is None:
                continue
            self._averages += [norm.running_mean, norm.running_var]
            self._values += [mean, variance]
            if type(norm) is nn.BatchNorm2d and norm.num_batches_tracked is not None:  # NNI's own count no batches
                self._counters.append(norm.num_batches_tracked)

    def update(self) -> None:
        """Move the averages as the norms would have."""
        with torch.no_grad():
            if self._averages:
                torch._foreach_lerp_(self._averages, self._values, self._momentum)
            if self._counters:
                torch._foreach_add_(self._counters, 1)
