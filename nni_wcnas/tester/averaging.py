"""The moving average of a generator's weights and running statistics, from which its best images come."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import _SpectralNorm
from torch.nn.utils.parametrize import ParametrizationList
from torch.optim.swa_utils import AveragedModel

__all__ = ['MovingAverage']


class MovingAverage(AveragedModel):
    """The average of a module, in evaluation mode; call ``update_parameters`` after every optimiser step.

    Parameters and buffers are averaged, and none requires a gradient. So batch norms divide by statistics of the same
    age as their weights. The singular vectors of a spectral norm are no average: that of two unit vectors is shorter,
    and would make the weights too large. They follow the averaged weights by the power iteration that the module itself
    makes in training.

    Parameters
    ----------
    module
        The module to average; the average starts as a deep copy of it.
    decay
        Weight of the past in [0, 1].
    start
        For this many updates the average is a mere copy. The buffer ``n_averaged`` counts the updates.
    """

    def __init__(self, module: nn.Module, decay: float, start: int) -> None:
        # A partial of a module's function, not a lambda, so that the average can be pickled.
        super().__init__(module, multi_avg_fn=partial(_average, decay=decay, start=start), use_buffers=True)
        self.start = start
        self.eval().requires_grad_(False)

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Move the average towards the present values of a module of the same kind."""
        if self.n_averaged < self.start:
            super().update_parameters(model)
            return
        # The vectors start the power iteration where the last one of the average ended, not where the module's did.
        norms = list(_spectral_norms(self.module))
        kept = [(norm._u.clone(), norm._v.clone()) for norm, _ in norms]
        super().update_parameters(model)
        for (norm, weight), (u, v) in zip(norms, kept, strict=True):
            norm._u.copy_(u)
            norm._v.copy_(v)
            norm.train()  # Of the norm alone, which then iterates once and does nothing else besides.
            norm(weight)
            norm.eval()


def _spectral_norms(module: nn.Module) -> Iterator[tuple[_SpectralNorm, Tensor]]:
    """Return each spectral norm of a module with the weight that it divides."""
    for child in module.modules():
        if isinstance(child, ParametrizationList):
            yield from ((norm, child.original) for norm in child if isinstance(norm, _SpectralNorm))


@torch.no_grad()
def _average(averages: list[Tensor], values: list[Tensor], updates: Tensor, *, decay: float, start: int) -> None:
    """Move the averages, which share a device and a dtype, towards the present values."""
    # Integers, as the number of batches that a batch norm has seen, cannot be averaged and are copied.
    if not averages[0].is_floating_point() or updates < start:
        torch._foreach_copy_(averages, values)
    else:  # average <- decay * average + (1 - decay) * value
        torch._foreach_lerp_(averages, values, 1 - decay)
