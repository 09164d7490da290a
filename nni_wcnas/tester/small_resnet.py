"""The small ResNet: an auxiliary model whose width follows the learner, so that it stays cheap beside it.

    width = sqrt(learner / 6000), at least 4        learner: weights of the space's convolutions, of all candidates

It is timm's ResNet with one basic block in each of its four stages, of width, 2 width, 4 width and 8 width channels,
and has 1200 width^2 weights: a fifth of the learner's. A width of 64 is timm's ``resnet10t`` but for its stem, which is
three 3x3 convolutions of width / 2, width / 2 and width channels. Weights are counted as the space is written, before
it is relaxed, whatever the number of classes and the size of the images.

Acts as any auxiliary model, on every batch. Cost beside the augmentation policy: a tenth of an iteration of first-order
DARTS in the smallest spaces, less in larger ones (``tests/benchmarks/testers.py --space``). Deviation: the paper's
separate auxiliary model is a ResNet-18 in every space; its name is ``resnet18``.
"""

from __future__ import annotations

import math
from typing import Any

from torch import nn

__all__ = ['SMALL_RESNET', 'convolution_weights', 'fitting_width', 'small_resnet']

SMALL_RESNET = 'small_resnet'
"""Its name in settings."""
_WEIGHTS = 1200
"""Of a width of 1; they grow with its square."""
_SHARE = 5
"""Weights of the learner to one of the auxiliary model."""
_LEAST = 4


def convolution_weights(space: nn.Module) -> int:
    """Weights of a network's convolutions."""
    return sum(parameter.numel() for parameter in space.parameters() if parameter.dim() == 4)


def fitting_width(learner: int) -> int:
    """The width that fits a learner whose convolutions have so many weights.

    Examples
    --------
    >>> fitting_width(100_000), fitting_width(10_000_000)
    (4, 40)
    """
    return max(_LEAST, math.isqrt(learner // (_SHARE * _WEIGHTS)))


def small_resnet(width: int) -> dict[str, Any]:
    """Name and arguments for ``timm.create_model``.

    Raises
    ------
    ValueError
        When there is not one channel for each convolution of the stem.
    """
    if width < 2:
        raise ValueError(f'width must be at least 2 channels, not {width}; leave it out to follow the learner')
    stages = tuple(width * 2**stage for stage in range(4))
    return {'name': 'resnet10t', 'stem_type': 'deep', 'stem_width': width // 2, 'channels': stages}
