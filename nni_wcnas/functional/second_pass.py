"""Layers with a quick second backward pass, which replace torch's while a network is differentiated twice.

On a CPU, half of the time of a supernet's second derivative goes into convolutions and a third into batch norms. torch
composes both of more passes than there need be, and has no second derivative of hard-sigmoid at all. The numbers are
the same up to rounding.
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
    """Replace the forward passes of some layers of ``module`` inside the context.

    On a CPU without autocast these are plain convolutions, and batch norms that neither use nor keep running
    statistics; elsewhere torch's own are as good. Hard-sigmoid is replaced everywhere. Contexts may be nested, on the
    same module or on parts of it.
    """
    changed = []
    try:
        for child in module.modules():
            forward = _replacement(child)
            # nn.Module looks forward up on the instance first, so an attribute stands in for the method, also within
            # functional_call. A layer that has one already belongs to an outer context.
            if forward is not None and 'forward' not in vars(child):
                child.forward = partial(forward, child)
                changed.append(child)
        yield
    finally:
        for child in changed:
            # The class's own method shows again.
            del child.forward


def has_quick_second_pass(module: nn.Module) -> bool:
    """Return whether a :func:`quick_second_pass` is open around the module or a part of it."""
    return any('forward' in vars(child) for child in module.modules())


def _replacement(module: nn.Module) -> Callable[[Any, Tensor], Tensor] | None:
    """Return the forward pass of ours that fits a module, or None where the module must keep its own."""
    # Subclasses with a forward pass of their own do something else, and keep it.
    own = type(module).forward
    if own is nn.Conv2d.forward:
        plain = module.groups == 1 and module.padding_mode == 'zeros' and not isinstance(module.padding, str)
        return _convolve if plain else None
    if own is _BatchNorm.forward and isinstance(module, nn.BatchNorm2d):
        # A training batch norm inside frozen_statistics, which therefore must be opened before this context.
        return _normalise if module.training and not module.track_running_stats else None
    return _hardsigmoid if own is nn.Hardsigmoid.forward else None


def _convolve(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """Return what a plain convolution does, with a quick second backward pass where that gains anything."""
    if not _gains(x, layer.weight):
        return nn.Conv2d.forward(layer, x)
    output = convolution(x, layer.weight, Geometry(layer.stride, cast(tuple[int, ...], layer.padding), layer.dilation))
    return output if layer.bias is None else output + layer.bias.view(1, -1, 1, 1)


def _normalise(norm: nn.BatchNorm2d, x: Tensor) -> Tensor:
    """Return what a batch norm does, with a quick second backward pass where that gains anything."""
    if not _gains(x, norm.weight):
        return _BatchNorm.forward(norm, x)
    # The other two results are the statistics of the batch, which nobody keeps here.
    return batch_norm(x, norm.weight, norm.bias, norm.eps)[0]


def _gains(x: Tensor, weight: Tensor | None) -> bool:
    """Return whether torch's own second backward pass is slower than ours."""
    # With two types, torch's own forward pass decides whether they go together.
    one_type = weight is None or x.dtype == weight.dtype
    return x.device.type == 'cpu' and one_type and not torch.is_autocast_enabled('cpu')


def _hardsigmoid(layer: nn.Hardsigmoid, x: Tensor) -> Tensor:
    """Return hard-sigmoid of x, composed of functions that torch can differentiate twice."""
    del layer  # Unused: there are no parameters, and nothing is done in place.
    return F.relu6(x + 3) / 6
