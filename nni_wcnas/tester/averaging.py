"""The moving average of a generator's weights and running statistics, from which its best images come."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

__all__ = ['moving_average']


def moving_average(module: nn.Module, decay: float, start: int) -> AveragedModel:
    """Build the average of ``module``; call its ``update_parameters`` after every optimiser step.

    Parameters
    ----------
    module
        The module to average; the average starts as a deep copy of it.
    decay
        Weight of the past in [0, 1].
    start
        For this many updates the average is a mere copy. The buffer ``n_averaged`` counts the updates.

    Returns
    -------
    The average, in evaluation mode, of parameters and buffers, none of which requires a gradient. With the buffers
    averaged as well, its batch norms divide by statistics of the same age as its weights.
    """
    # A partial of a module's function, not a lambda, so that the average can be pickled.
    average = AveragedModel(module, multi_avg_fn=partial(_average, decay=decay, start=start), use_buffers=True)
    return average.eval().requires_grad_(False)


@torch.no_grad()
def _average(averages: list[Tensor], values: list[Tensor], updates: Tensor, *, decay: float, start: int) -> None:
    """Move the averages, which share a device and a dtype, towards the present values."""
    # Integers, as the number of batches that a batch norm has seen, cannot be averaged and are copied.
    if not averages[0].is_floating_point() or updates < start:
        torch._foreach_copy_(averages, values)
    else:  # average <- decay * average + (1 - decay) * value
        torch._foreach_lerp_(averages, values, 1 - decay)
