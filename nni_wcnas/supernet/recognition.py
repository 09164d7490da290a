"""What the fast cell knows about a candidate operation, read off its layers rather than its class.

So it serves the official operations, those of NNI's hub, and any other built of the same layers. Weights and modes are
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
    """ReLU, depthwise convolution, pointwise convolution, batch norm."""

    depthwise: nn.Conv2d
    pointwise: nn.Conv2d
    norm: nn.BatchNorm2d


@dataclass(frozen=True)
class Separable:
    """One stage after the other."""

    stages: tuple[Stage, ...]

    @cached_property
    def key(self) -> Hashable:
        """Equal for those whose depthwise convolutions differ in their weights alone."""
        convs = [stage.depthwise for stage in self.stages]
        return tuple((conv.kernel_size, conv.stride, conv.padding, conv.dilation) for conv in convs)


@dataclass(frozen=True)
class Pool:
    """A pool, and perhaps a batch norm."""

    pool: nn.MaxPool2d | nn.AvgPool2d
    norm: nn.BatchNorm2d | None = None

    @cached_property
    def key(self) -> Hashable:
        """Equal for pools that compute the same."""
        return type(self.pool), tuple(getattr(self.pool, name) for name in self.pool.__constants__)


@dataclass(frozen=True)
class Identity:
    """The state itself."""


@dataclass(frozen=True)
class Nothing:
    """Zeros."""

    module: nn.Module


@dataclass(frozen=True)
class Other:
    """Any module, which is called as it is."""

    module: nn.Module


Candidate = Separable | Pool | Identity | Nothing | Other


def recognise(module: nn.Module) -> Candidate:
    """Describe a candidate operation."""
    if isinstance(module, (Zero, HubZero)):
        return Nothing(module)
    if type(module) is nn.Identity:
        return Identity()
    match _layers(module):
        case [nn.MaxPool2d() | nn.AvgPool2d() as pool]:
            return Pool(pool)
        case [nn.MaxPool2d() | nn.AvgPool2d() as pool, norm] if _is_norm(norm):
            return Pool(pool, norm)
        case layers:
            groups = [_stage(layers[start : start + 4]) for start in range(0, len(layers), 4)]
            stages = tuple(stage for stage in groups if stage is not None)
            return Separable(stages) if stages and len(stages) == len(groups) else Other(module)


def _layers(module: nn.Module) -> list[nn.Module]:
    """The layers of nested sequences."""
    if isinstance(module, nn.Sequential):
        return [layer for child in module for layer in _layers(child)]
    return [module]


def _stage(layers: list[nn.Module]) -> Stage | None:
    """The four layers as a stage, if they are one."""
    match layers:
        case [nn.ReLU(inplace=False), depthwise, pointwise, norm]:
            if _is_depthwise(depthwise) and _is_pointwise(pointwise) and _is_norm(norm):
                return Stage(depthwise, pointwise, norm)
    return None


def _is_fixed(module: nn.Module) -> bool:
    """Not one of NNI's mutable layers, or one in which nothing is mutable."""
    return not getattr(module, 'mutable_arguments', None)


def _is_depthwise(conv: nn.Module) -> TypeGuard[nn.Conv2d]:
    if not isinstance(conv, nn.Conv2d) or not _is_fixed(conv) or isinstance(conv.padding, str):
        return False
    square = all(len(set(numbers)) == 1 for numbers in (conv.kernel_size, conv.stride, conv.dilation, conv.padding))
    bare = conv.bias is None and conv.padding_mode == 'zeros'
    return square and bare and conv.groups == conv.in_channels == conv.out_channels


def _is_pointwise(conv: nn.Module) -> TypeGuard[nn.Conv2d]:
    if not isinstance(conv, nn.Conv2d) or not _is_fixed(conv):
        return False
    shape = conv.kernel_size == conv.stride == (1, 1) and conv.padding == (0, 0)
    return shape and conv.groups == 1 and conv.bias is None


def _is_norm(norm: nn.Module) -> TypeGuard[nn.BatchNorm2d]:
    return isinstance(norm, nn.BatchNorm2d) and _is_fixed(norm) and norm.momentum is not None
