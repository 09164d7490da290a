"""The running statistics of batch norms whose arithmetic is done elsewhere.

A cell that computes many batch norms in one product never calls their modules, which then do not move their own running
averages. Here the cell notes what each of them would have seen, and moves all averages after its pass, in a few calls.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ['RunningAverages', 'uses_batch']


def uses_batch(norm: nn.BatchNorm2d) -> bool:
    """Return whether a batch norm normalises by the statistics of its batch rather than by running ones."""
    # As torch has it: a norm that keeps no statistics uses the batch's in evaluation mode too.
    return norm.training or norm.running_mean is None


class RunningAverages:
    """Collects what batch norms of one momentum saw in a forward pass, and moves all of their averages at once.

    Parameters
    ----------
    momentum
        Weight of the new value in each average, as in ``nn.BatchNorm2d``.
    """

    def __init__(self, momentum: float) -> None:
        self._momentum = momentum
        self._averages: list[Tensor] = []
        self._values: list[Tensor] = []
        self._counters: list[Tensor] = []

    def add(self, norms: Sequence[nn.BatchNorm2d], means: Tensor, variances: Tensor, count: int) -> None:
        """Note what B norms saw in this pass; those that keep no statistics, or are not training, are passed over.

        Parameters
        ----------
        norms
            The B norms.
        means, variances
            Their batch means and biased variances, shape ``(B, C)``, without gradient.
        count
            Number of values in each channel, N H W.

        Raises
        ------
        ValueError
            If there is a single value in each channel; torch's batch norm refuses that, too.
        """
        if count == 1:
            raise ValueError('Batch norm needs more than one value per channel in training; use a larger batch')
        # A batch norm normalises by the biased variance, and averages the unbiased one.
        unbiased = variances * (count / (count - 1))
        for norm, mean, variance in zip(norms, means.unbind(), unbiased.unbind()):
            if not norm.training or not norm.track_running_stats:
                continue
            if norm.running_mean is None or norm.running_var is None:
                continue
            self._averages += [norm.running_mean, norm.running_var]
            self._values += [mean, variance]
            # NNI's mutable batch norms are subclasses, and count no batches.
            if type(norm) is nn.BatchNorm2d and norm.num_batches_tracked is not None:
                self._counters.append(norm.num_batches_tracked)

    def update(self) -> None:
        """Move all averages as the norms themselves would, in place, and count the batch."""
        with torch.no_grad():
            if self._averages:
                # average + momentum (value - average), for all norms in one call instead of two for each.
                torch._foreach_lerp_(self._averages, self._values, self._momentum)
            if self._counters:
                torch._foreach_add_(self._counters, 1)
