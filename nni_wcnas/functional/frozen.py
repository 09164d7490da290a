"""Evaluate a training-mode module without moving anything it remembers.

A look-ahead step, a finite difference or a score must see the network exactly as it trains (batch statistics, current
spectral norms) and must leave it exactly as it was. Inside :func:`frozen_statistics`

- batch norms in training mode normalise by the statistics of their batch, but their running statistics and their
  ``num_batches_tracked`` stand still;
- spectral-norm parametrizations divide by the norm of their stored singular vectors, without a power iteration.

Modules in evaluation mode change nothing by themselves and are left alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.parametrizations import _SpectralNorm

__all__ = ['constants', 'frozen_statistics']


@contextmanager
def frozen_statistics(module: nn.Module) -> Iterator[None]:
    """Keep every running statistic and singular vector below ``module`` unchanged inside the context.

    Contexts may be nested, on the same module or on parts of it; whatever happens inside, each restores what it found.

    Parameters
    ----------
    module
        Root of the modules to freeze. The context acts on the modules, not on tensors, so it holds for
        ``torch.func.functional_call`` on ``module`` as well.

    Examples
    --------
    >>> import torch
    >>> norm = torch.nn.BatchNorm1d(2)
    >>> with frozen_statistics(norm):
    ...     _ = norm(torch.randn(4, 2))
    >>> norm.running_mean, norm.num_batches_tracked
    (tensor([0., 0.]), tensor(0))
    """
    changed: list[tuple[nn.Module, str]] = []
    try:
        for child in module.modules():
            attribute = _switch(child)
            if attribute is not None and getattr(child, attribute):
                setattr(child, attribute, False)
                changed.append((child, attribute))
        yield
    finally:
        for child, attribute in changed:
            setattr(child, attribute, True)


@contextmanager
def constants(parameters: Mapping[str, Tensor]) -> Iterator[None]:
    """Spare the passes inside the context the gradients of these parameters, which nobody reads.

    Backward passes must be inside as well. Parameters that required no gradient before require none afterwards.
    """
    learnt = [parameter for parameter in parameters.values() if parameter.requires_grad]
    for parameter in learnt:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learnt:
            parameter.requires_grad_(True)


def _switch(module: nn.Module) -> str | None:
    """Name of the flag that makes ``module`` remember its input, or None if it remembers nothing."""
    if isinstance(module, _SpectralNorm):
        return 'training'
    if isinstance(module, _BatchNorm) and module.training:
        return 'track_running_stats'
    return None
