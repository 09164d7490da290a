"""Stems, which make the two inputs of the first cell of a DARTS network.

References
----------
Liu, Simonyan, Yang, "DARTS: Differentiable Architecture Search", ICLR 2019, sections 3.2 and 3.3.
"""

from __future__ import annotations

from typing import Literal

from torch import nn

from nni_wcnas.spaces.operations import ReLUConvNorm
from nni_wcnas.spaces.views import VIEWS

__all__ = ['build_stem']


def build_stem(
    kind: Literal['cifar', 'imagenet'], channels: int, view: str | None = None
) -> tuple[nn.Module, nn.Module]:
    """Build the two parts of a stem: one makes the first input from images, the other the second from the first.

    Parameters
    ----------
    kind
        ``'cifar'``: one convolution, and the second input is the first. ``'imagenet'``: three convolutions of stride 2;
        the first input has a quarter of the image's size, the second an eighth.
    channels
        Number of channels of both inputs; even for ``'imagenet'``.
    view
        What the first convolution sees, one of :data:`~nni_wcnas.spaces.views.VIEWS`; None for the images as they are.
    """
    seen = [] if view is None else [VIEWS[view]()]
    if kind == 'cifar':
        # No ReLU at the end: cells begin with one. The batch norm has scale and shift, also in the search.
        convolution = nn.Conv2d(3, channels, 3, padding=1, bias=False)
        return nn.Sequential(*seen, convolution, nn.BatchNorm2d(channels)), nn.Identity()
    first = nn.Sequential(
        *seen,
        # Two convolutions to a quarter of the size, with a rectifier between them; the third one brings its own.
        nn.Conv2d(3, channels // 2, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(channels // 2),
        nn.ReLU(),
        nn.Conv2d(channels // 2, channels, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(channels),
    )
    return first, ReLUConvNorm(channels, channels, 3, stride=2, padding=1)
