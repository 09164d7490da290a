"""The running statistics of batch norms whose arithmetic was done elsewhere."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ['RunningAverages', 'uses_batch']


def uses_batch(norm: nn.BatchNorm2d) -> bool:
    """Whether a batch norm normalises by the statistics of its batch."""
    return norm.training or norm.running_mean is None


class RunningAverages:
    """Collects what batch norms saw in one forward pass, and moves all of their averages at once."""

    def __init__(self) -> None:
        self._seen: list[tuple[nn.BatchNorm2d, Tensor, Tensor]] = []

    def add(self, norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor, count: int) -> None:
        """Note the mean and biased variance, shape ``(C,)``, of ``count`` values a channel.

        Raises
        ------
        ValueError
            When there is a single value, as torch's batch norm does.
        """
        if count == 1:
            raise ValueError('Batch norm needs more than one value per channel in training; use a larger batch')
        if norm.training and norm.track_running_stats:
            self._seen.append((norm, mean, variance * (count / (count - 1))))

    @torch.no_grad()
    def update(self) -> None:
        """Move the averages as the norms would have."""
        if not self._seen:
            return
        norms = [norm for norm, _, _ in self._seen]
        momentum = norms[0].momentum
        for name, position in (('running_mean', 1), ('running_var', 2)):
            torch._foreach_lerp_(
                [getattr(norm, name) for norm in norms], [seen[position] for seen in self._seen], momentum)
        counted = [norm.num_batches_tracked for norm in norms if type(norm) is nn.BatchNorm2d]  # NNI's do not count
        if counted:
            torch._foreach_add_(counted, 1)
