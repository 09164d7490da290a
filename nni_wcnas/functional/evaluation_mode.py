"""Evaluate a module without forgetting which of its parts were training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

__all__ = ['evaluation_mode']


@contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """Put a module into evaluation mode inside the context; each part is put back into its own mode afterwards.

    Examples
    --------
    >>> network = nn.Sequential(nn.Dropout(), nn.BatchNorm1d(2).eval())
    >>> with evaluation_mode(network):
    ...     print(network[0].training)
    False
    >>> network[0].training, network[1].training
    (True, False)
    """
    # One mode for each part: train() afterwards would set all parts alike, those that had been evaluating too.
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            # Set directly, as part.train(mode) would go on to the parts below.
            part.training = mode
