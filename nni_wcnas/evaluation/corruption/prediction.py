"""Logits of a network that is only looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

__all__ = ['predicting']


@contextmanager
def predicting(network: nn.Module) -> Iterator[Callable[[Tensor], Tensor]]:
    """Give a function from normalised images ``(N, 3, H, W)`` to logits ``(N, K)`` on the CPU.

    It runs in evaluation mode, on the network's device and in float32, or in float64 if the network has it; modes and
    precision are put back afterwards.

    Parameters
    ----------
    network
        Maps images to logits.
    """
    parameter = next(network.parameters())
    device, dtype = parameter.device, parameter.dtype
    precision = torch.promote_types(dtype, torch.float32)  # Rounding float64 could not be undone.
    modes = [(part, part.training) for part in network.modules()]

    def predict(images: Tensor) -> Tensor:
        return network(images.to(device, precision)).cpu()

    try:
        network.eval().to(precision)
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            yield predict
    finally:
        network.to(dtype)
        for part, mode in modes:
            part.training = mode
