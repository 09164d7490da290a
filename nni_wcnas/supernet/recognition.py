"""What the fast cell knows about a candidate operation, read off its modules rather than its class.

So it serves the official operations, those of NNI's hub, and any other built of the same layers. Weights and modes are
read from the modules at each forward pass, so ``torch.func.functional_call``, ``state_dict`` and ``eval`` work as
usual.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

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


@dataclass(frozen=True)
class Pool:
    """A pool, and perhaps a batch norm."""

    pool: nn.Module
    norm: nn.BatchNorm2d | None

    @property
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
    layers = _layers(module)
    if 1 <= len(layers) <= 2 and type(layers[0]) in (nn.MaxPool2d, nn.AvgPool2d):
        norm = layers[1] if len(layers) == 2 else None
        if norm is None or _is_norm(norm):
            return Pool(layers[0], norm)
    if layers and len(layers) % 4 == 0:
        groups = [layers[start : start + 4] for start in range(0, len(layers), 4)]
        if all(_is_stage(group) for group in groups):
            return Separable(tuple(Stage(*group[1:]) for group in groups))
    return Other(module)


def _layers(module: nn.Module) -> list[nn.Module]:
    """The layers of nested sequences."""
    if isinstance(module, nn.Sequential):
        return [layer for child in module for layer in _layers(child)]
    return [module]


def _is_stage(layers: list[nn.Module]) -> bool:
    relu, depthwise, pointwise, norm = layers
    return (
        type(relu) is nn.ReLU
        and not relu.inplace
        and _is_plain(depthwise, nn.Conv2d)
        and _is_plain(pointwise, nn.Conv2d)
        and _is_depthwise(depthwise)
        and _is_pointwise(pointwise)
        and _is_norm(norm)
    )


def _is_plain(module: nn.Module, kind: type[nn.Module]) -> bool:
    """A layer of this kind; also NNI's mutable one, where nothing in it is mutable."""
    return isinstance(module, kind) and not getattr(module, 'mutable_arguments', None)


def _is_depthwise(conv: nn.Conv2d) -> bool:
    square = all(len(set(getattr(conv, name))) == 1 for name in ('kernel_size', 'stride', 'dilation'))
    symmetric = not isinstance(conv.padding, str) and len(set(conv.padding)) == 1 and conv.padding_mode == 'zeros'
    return square and symmetric and conv.groups == conv.in_channels == conv.out_channels and conv.bias is None


def _is_pointwise(conv: nn.Conv2d) -> bool:
    shape = conv.kernel_size == conv.stride == (1, 1) and conv.padding == (0, 0)
    return shape and conv.groups == 1 and conv.bias is None


def _is_norm(norm: nn.Module) -> bool:
    return _is_plain(norm, nn.BatchNorm2d) and norm.momentum is not None
