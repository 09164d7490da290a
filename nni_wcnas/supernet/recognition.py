"""What the fast cells know about a candidate operation, read off its layers rather than its class.

So they serve the official operations, those of NNI's hub, and any other built of the same layers. Weights and modes are
read from the layers at each forward pass, so ``torch.func.functional_call``, ``state_dict`` and ``eval`` work as usual.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeGuard

from nni.nas.hub.pytorch.nasnet import Zero as HubZero
from torch import nn

from nni_wcnas.spaces.operations import Zero

__all__ = ['Candidate', 'Identity', 'Nothing', 'Other', 'Pool', 'Separable', 'Stage', 'recognise']


@dataclass(frozen=True)
class Stage:
    """Layers of one stage of a separable convolution; a ReLU stands before them.

    Neither convolution has a bias, and the depthwise one is square: see :func:`recognise`.
    """

    depthwise: nn.Conv2d
    pointwise: nn.Conv2d
    norm: nn.BatchNorm2d


@dataclass(frozen=True)
class Separable:
    """A separable convolution: one or more stages, one after the other."""

    stages: tuple[Stage, ...]

    @cached_property
    def key(self) -> Hashable:
        """A key that is equal for convolutions that can be computed in one call.

        It holds the geometry of the depthwise convolution of each stage, not its weights or number of channels.
        """
        convs = [stage.depthwise for stage in self.stages]
        return tuple((conv.kernel_size, conv.stride, conv.padding, conv.dilation) for conv in convs)


@dataclass(frozen=True)
class Pool:
    """A max or average pool, with a batch norm behind it or without."""

    pool: nn.MaxPool2d | nn.AvgPool2d
    norm: nn.BatchNorm2d | None = None

    @cached_property
    def key(self) -> Hashable:
        """A key that is equal for pools that compute the same, whatever norms stand behind them."""
        # torch lists the arguments of a pool, all that its output depends on, in __constants__.
        return type(self.pool), tuple(getattr(self.pool, name) for name in self.pool.__constants__)


@dataclass(frozen=True)
class Identity:
    """A skip connection, whose output is the state itself."""


@dataclass(frozen=True)
class Nothing:
    """The operation 'none', whose output is zeros; the module is called only for their shape."""

    module: nn.Module


@dataclass(frozen=True)
class Other:
    """Any other module, which is called as it is."""

    module: nn.Module


Candidate = Separable | Pool | Identity | Nothing | Other


def recognise(module: nn.Module) -> Candidate:
    """Return what a candidate operation is, judged by its layers.

    Parameters
    ----------
    module
        The operation. Nested ``nn.Sequential`` count as one sequence of layers.

    Returns
    -------
    :class:`Nothing` and :class:`Identity` by class; :class:`Pool` for a pool alone or with a batch norm;
    :class:`Separable` for stages of (ReLU, depthwise and pointwise convolution, batch norm) and nothing else;
    :class:`Other` for everything that does not fit exactly.
    """
    if isinstance(module, (Zero, HubZero)):
        return Nothing(module)
    # Not isinstance: a subclass may compute something else.
    if type(module) is nn.Identity:
        return Identity()
    match _layers(module):
        case [nn.MaxPool2d() | nn.AvgPool2d() as pool]:
            return Pool(pool)
        case [nn.MaxPool2d() | nn.AvgPool2d() as pool, norm] if _is_norm(norm):
            return Pool(pool, norm)
        case layers:
            # Stages have four layers each. A remainder, or one group that is no stage, makes the whole an Other.
            groups = [_stage(layers[start : start + 4]) for start in range(0, len(layers), 4)]
            stages = tuple(stage for stage in groups if stage is not None)
            return Separable(stages) if stages and len(stages) == len(groups) else Other(module)


def _layers(module: nn.Module) -> list[nn.Module]:
    """Return the layers of nested sequences as one list; a module that is no sequence is one layer."""
    # A subclass with a forward pass of its own may do more than call its layers in order.
    if isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward:
        return [layer for child in module for layer in _layers(child)]
    return [module]


def _stage(layers: list[nn.Module]) -> Stage | None:
    """Return these layers as a stage, or None if they are none."""
    match layers:
        # A ReLU in place would change the state that other edges read, which one that is shared cannot imitate.
        case [nn.ReLU(inplace=False), depthwise, pointwise, norm]:
            if _is_depthwise(depthwise) and _is_pointwise(pointwise) and _is_norm(norm):
                return Stage(depthwise, pointwise, norm)
    return None


def _is_fixed(module: nn.Module) -> bool:
    """Return whether a layer has no mutable arguments: it is none of NNI's mutable layers, or one with fixed values."""
    return not getattr(module, 'mutable_arguments', None)


def _is_depthwise(conv: nn.Module) -> TypeGuard[nn.Conv2d]:
    """Return whether a layer is a convolution of one square kernel a channel, with zero padding and without a bias."""
    # Padding may be the word 'same' or 'valid'.
    if not isinstance(conv, nn.Conv2d) or not _is_fixed(conv) or isinstance(conv.padding, str):
        return False
    # One number for both axes, as functional.convolution.depthwise takes it.
    square = all(len(set(numbers)) == 1 for numbers in (conv.kernel_size, conv.stride, conv.dilation, conv.padding))
    bare = conv.bias is None and conv.padding_mode == 'zeros'
    return square and bare and conv.groups == conv.in_channels == conv.out_channels


def _is_pointwise(conv: nn.Module) -> TypeGuard[nn.Conv2d]:
    """Return whether a layer is a dense 1x1 convolution of stride 1, without padding and bias: a matrix product."""
    if not isinstance(conv, nn.Conv2d) or not _is_fixed(conv):
        return False
    shape = conv.kernel_size == conv.stride == (1, 1) and conv.padding == (0, 0)
    return shape and conv.groups == 1 and conv.bias is None


def _is_norm(norm: nn.Module) -> TypeGuard[nn.BatchNorm2d]:
    """Return whether a layer is a batch norm whose arithmetic can be done elsewhere."""
    # With a momentum of None torch averages over all batches so far, which RunningAverages does not.
    return isinstance(norm, nn.BatchNorm2d) and _is_fixed(norm) and norm.momentum is not None
