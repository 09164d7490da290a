"""Moving average of a generator's weights and statistics: what its best images come from."""

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
        What to average; copied.
    decay
        Weight of the past in [0, 1].
    start
        For this many updates the average is a copy. The buffer ``n_averaged`` counts the updates.

    Returns
    -------
    The average, in evaluation mode, of parameters and buffers, none of which requires a gradient. With the buffers
    averaged as well, its batch norms divide by statistics of the same age as its weights.
    """
    average = AveragedModel(module, multi_avg_fn=partial(_average, decay=decay, start=start), use_buffers=True)
    return average.eval().requires_grad_(False)


@torch.no_grad()
def _average(averages: list[Tensor], values: list[Tensor], updates: Tensor, *, decay: float, start: int) -> None:
    """Move averages of one device and dtype towards the present values."""
    if not averages[0].is_floating_point() or updates < start:
        torch._foreach_copy_(averages, values)
    else:
        torch._foreach_lerp_(averages, values, 1 - decay)
