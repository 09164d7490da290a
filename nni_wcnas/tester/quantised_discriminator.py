"""FQ-GAN's discriminator: a quantiser after each residual block.

References
----------
Zhao et al., Feature Quantization Improves GAN Training, 2020, section 4; Brock et al., Large Scale GAN Training for
High Fidelity Natural Image Synthesis, 2019, appendix B.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from nni_wcnas.functional.quantisation import Statistics
from nni_wcnas.tester.discriminator import Projection, down_blocks, pooled
from nni_wcnas.tester.quantiser import Quantiser

__all__ = ['Judgement', 'QuantisedDiscriminator', 'QuantisedTrunk']


class Judgement(NamedTuple):
    """What the discriminator finds in a batch of N images."""

    scores: Tensor
    """Scores, shape ``(N,)``; higher is more real."""
    quantisation: Tensor
    """Quantisation loss, a scalar: the mean over the batch, summed over the blocks."""
    statistics: tuple[Statistics, ...]
    """What the batch contributes to the dictionary of each block, for :meth:`QuantisedTrunk.commit`."""


class QuantisedTrunk(nn.Module):
    """A discriminator's trunk in which each block compares its features with a dictionary of its own.

    Parameters
    ----------
    image_size
        Side of the image: 8 times a power of two.
    width
        Channels of every block.
    dictionary_size
        K, the number of codes in the dictionary of each block.
    feed_quantized
        Pass quantised features from block to block.
    """

    def __init__(self, image_size: int, width: int, dictionary_size: int, *, feed_quantized: bool = False):
        super().__init__()
        self.width = width
        self.blocks = down_blocks(image_size, width)
        self.quantisers = nn.ModuleList(Quantiser(dictionary_size, width, feed=feed_quantized) for _ in self.blocks)

    def forward(self, images: Tensor) -> Tensor:
        """Map images ``(N, 3, H, W)`` in [-1, 1] to features ``(N, width)``, with the dictionaries as they are."""
        features = images
        # (N, 3, H, W) -> (N, width, 8, 8): the blocks stop at 8 pixels.
        for block, quantiser in self._pairs():
            features = quantiser.present(block(features))
        return pooled(features)

    def judge(self, images: Tensor, momentum: Tensor, statistics: tuple[Statistics, ...] | None = None) -> Judgement:
        """Return features ``(N, width)`` in the place of scores, the quantisation loss, and the statistics.

        The loss is taken against the dictionaries that this batch leads to. ``statistics``, one for each block, are
        held fixed if given.
        """
        features, losses, used = images, [], []
        for index, (block, quantiser) in enumerate(self._pairs()):
            fixed = None if statistics is None else statistics[index]
            features, loss, own = quantiser(block(features), momentum, fixed)
            losses.append(loss)
            used.append(own)
        # Each loss is a mean over its own feature map; the published objective adds the blocks up unweighted.
        return Judgement(pooled(features), torch.stack(losses).sum(), tuple(used))

    def commit(self, statistics: tuple[Statistics, ...], momentum: Tensor | float) -> None:
        """Let the dictionary of each block learn from one batch, whose statistics :meth:`judge` returned."""
        for (_, quantiser), own in zip(self._pairs(), statistics, strict=True):
            quantiser.commit(own, momentum)

    def _pairs(self) -> list[tuple[nn.Module, Quantiser]]:
        """Return each block with its quantiser, in the order of the forward pass."""
        # The cast is for the type checker, to which the items of a ModuleList are plain modules.
        return [(block, cast(Quantiser, own)) for block, own in zip(self.blocks, self.quantisers, strict=True)]


class QuantisedDiscriminator(nn.Module):
    """FQ-GAN's discriminator: a trunk with quantisers and a projection head.

    Parameters
    ----------
    num_classes
        Number of classes.
    image_size, width, dictionary_size, feed_quantized
        See :class:`QuantisedTrunk`.
    """

    def __init__(self, num_classes: int, image_size: int, width: int, dictionary_size: int, *,
                 feed_quantized: bool = False):
        super().__init__()
        # The trunk sees no labels, so that an auxiliary model can share it; the head does.
        self.trunk = QuantisedTrunk(image_size, width, dictionary_size, feed_quantized=feed_quantized)
        self.head = Projection(num_classes, width)

    def forward(self, images: Tensor, labels: Tensor, momentum: Tensor,
                statistics: tuple[Statistics, ...] | None = None) -> Judgement:
        """Judge images of shape ``(N, 3, H, W)`` in [-1, 1] under labels of shape ``(N,)``."""
        features, quantisation, used = self.trunk.judge(images, momentum, statistics)
        return Judgement(self.head(features, labels), quantisation, used)
