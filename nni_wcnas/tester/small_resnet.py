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

from nni_wcnas.errors import InvalidArgument

__all__ = ['SMALL_RESNET', 'convolution_weights', 'fitting_width', 'small_resnet']

SMALL_RESNET = 'small_resnet'
"""Name of the small ResNet in settings."""
_WEIGHTS = 1200
"""Weights at a width of 1, about 18 + 56 + 224 + 896 of the stages and 7 of the stem; they grow with its square."""
_SHARE = 5
"""How many weights the learner has for each one of the auxiliary model."""
_LEAST = 4
"""Smallest width, in channels of the first stage."""


def convolution_weights(space: nn.Module) -> int:
    """Count the weights of a network's convolutions."""
    # Only kernels of two-dimensional convolutions have four dimensions.
    return sum(parameter.numel() for parameter in space.parameters() if parameter.dim() == 4)


def fitting_width(learner: int) -> int:
    """Return the width of a small ResNet beside a learner whose convolutions have ``learner`` weights.

    Examples
    --------
    >>> fitting_width(100_000), fitting_width(10_000_000)
    (4, 40)
    """
    # Weights 1200 width^2 = learner / 5, rounded down to whole channels.
    return max(_LEAST, math.isqrt(learner // (_SHARE * _WEIGHTS)))


def small_resnet(width: int) -> dict[str, Any]:
    """Return the name and the arguments of a small ResNet for ``timm.create_model``.

    Raises
    ------
    ValueError
        If the width is below 2, which leaves no channel for the stem's convolutions of half the width.
    """
    if width < 2:
        raise InvalidArgument('width', width, 'be at least 2 channels, or left out to follow the learner')
    stages = tuple(width * 2**stage for stage in range(4))
    return {'name': 'resnet10t', 'stem_type': 'deep', 'stem_width': width // 2, 'channels': stages}
