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
    """Keep every running statistic and singular vector of ``module`` and its parts unchanged inside the context.

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
        # Only flags that are on are turned off, and noted: an inner context finds them off and leaves them alone.
        for child in module.modules():
            attribute = _switch(child)
            if attribute is not None and getattr(child, attribute):
                setattr(child, attribute, False)
                changed.append((child, attribute))
        yield
    finally:
        # Set directly: module.train() would also turn on children that had been put into evaluation mode.
        for child, attribute in changed:
            setattr(child, attribute, True)


@contextmanager
def constants(parameters: Mapping[str, Tensor]) -> Iterator[None]:
    """Let these parameters require no gradient inside the context, which spares passes gradients that nobody reads.

    Backward passes must be inside as well. Parameters that required no gradient before require none afterwards.
    """
    # A graph leads to the leaves that require a gradient while it is built, so the flag is off before the passes begin.
    learnt = [parameter for parameter in parameters.values() if parameter.requires_grad]
    for parameter in learnt:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learnt:
            parameter.requires_grad_(True)


def _switch(module: nn.Module) -> str | None:
    """Return the name of the flag that makes ``module`` remember its input, or None if it remembers nothing."""
    # The parametrization is a module of its own: its 'training' rules the power iteration and nothing else, so that the
    # layer that it belongs to still trains.
    if isinstance(module, _SpectralNorm):
        return 'training'
    # In training mode torch normalises by the batch whatever this flag says. Without it, the buffers are not handed on
    # to the kernel and batches are not counted. A norm in evaluation mode moves nothing anyway.
    if isinstance(module, _BatchNorm) and module.training:
        return 'track_running_stats'
    return None
