"""Layers with a quick second backward pass, in the place of torch's, for as long as a network is differentiated twice.

A second derivative of a supernet on a CPU is half convolutions and a third batch norms, both of which torch composes of
more passes than there need be; of hard-sigmoid it has none. The numbers are the same up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from nni_wcnas.functional.batch_norm import batch_norm
from nni_wcnas.functional.convolution import Geometry, convolution

__all__ = ['has_quick_second_pass', 'quick_second_pass']


@contextmanager
def quick_second_pass(module: nn.Module) -> Iterator[None]:
    """Let the plain convolutions below ``module``, and the batch norms that use and keep no running statistics, be ours
    on a CPU and without autocast (elsewhere torch's own are as good), hard-sigmoid everywhere.

    Contexts may be nested, on the same module or on parts of it.
    """
    changed = []
    try:
        for child in module.modules():
            forward = _replacement(child)
            if forward is not None and 'forward' not in vars(child):
                child.forward = partial(forward, child)
                changed.append(child)
        yield
    finally:
        for child in changed:
            del child.forward


def has_quick_second_pass(module: nn.Module) -> bool:
    """Whether a :func:`quick_second_pass` is open around the module."""
    return any('forward' in vars(child) for child in module.modules())


def _replacement(module: nn.Module) -> Callable[[Any, Tensor], Tensor] | None:
    """The forward pass of ours that a module may have; None where it must keep its own."""
    own = type(module).forward
    if own is nn.Conv2d.forward:
        plain = module.groups == 1 and module.padding_mode == 'zeros' and not isinstance(module.padding, str)
        return _convolve if plain else None
    if own is _BatchNorm.forward and isinstance(module, nn.BatchNorm2d):
        return _normalise if module.training and not module.track_running_stats else None
    return _hardsigmoid if own is nn.Hardsigmoid.forward else None


def _convolve(layer: nn.Conv2d, x: Tensor) -> Tensor:
    if not _gains(x, layer.weight):
        return nn.Conv2d.forward(layer, x)
    output = convolution(x, layer.weight, Geometry(layer.stride, cast(tuple[int, ...], layer.padding), layer.dilation))
    return output if layer.bias is None else output + layer.bias.view(1, -1, 1, 1)


def _normalise(norm: nn.BatchNorm2d, x: Tensor) -> Tensor:
    if not _gains(x, norm.weight):
        return _BatchNorm.forward(norm, x)
    return batch_norm(x, norm.weight, norm.bias, norm.eps)[0]


def _gains(x: Tensor, weight: Tensor | None) -> bool:
    """Whether torch's own second backward pass is slower than ours."""
    one_type = weight is None or x.dtype == weight.dtype
    return x.device.type == 'cpu' and one_type and not torch.is_autocast_enabled('cpu')


def _hardsigmoid(layer: nn.Hardsigmoid, x: Tensor) -> Tensor:
    del layer  # Unused: there are no parameters, and nothing is done in place.
    return F.relu6(x + 3) / 6
