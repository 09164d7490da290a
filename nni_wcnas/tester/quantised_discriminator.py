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
    """What the discriminator says of a batch."""

    scores: Tensor
    """Shape ``(N,)``, higher is more real."""
    quantisation: Tensor
    """Quantisation loss, a scalar: the mean over the batch, summed over the blocks."""
    statistics: tuple[Statistics, ...]
    """What each block's dictionary would learn from the batch."""


class QuantisedTrunk(nn.Module):
    """A trunk whose blocks compare their features with a dictionary each.

    Parameters
    ----------
    image_size
        Side of the image: 8 times a power of two.
    width
        Channels of every block.
    dictionary_size
        Codes of each block's dictionary.
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
        for block, quantiser in self._pairs():
            features = quantiser.present(block(features))
        return pooled(features)

    def judge(self, images: Tensor, momentum: Tensor, statistics: tuple[Statistics, ...] | None = None) -> Judgement:
        """Features in place of scores, and the quantisation loss against the dictionaries this batch leads to."""
        features, losses, used = images, [], []
        for index, (block, quantiser) in enumerate(self._pairs()):
            fixed = None if statistics is None else statistics[index]
            features, loss, own = quantiser(block(features), momentum, fixed)
            losses.append(loss)
            used.append(own)
        return Judgement(pooled(features), torch.stack(losses).sum(), tuple(used))

    def commit(self, statistics: tuple[Statistics, ...], momentum: Tensor | float) -> None:
        """Let each block's dictionary learn from one batch."""
        for (_, quantiser), own in zip(self._pairs(), statistics, strict=True):
            quantiser.commit(own, momentum)

    def _pairs(self) -> list[tuple[nn.Module, Quantiser]]:
        """Each block with its quantiser."""
        return [(block, cast(Quantiser, own)) for block, own in zip(self.blocks, self.quantisers, strict=True)]


class QuantisedDiscriminator(nn.Module):
    """Trunk and projection head.

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
        self.trunk = QuantisedTrunk(image_size, width, dictionary_size, feed_quantized=feed_quantized)
        self.head = Projection(num_classes, width)

    def forward(self, images: Tensor, labels: Tensor, momentum: Tensor,
                statistics: tuple[Statistics, ...] | None = None) -> Judgement:
        """Judge images of shape ``(N, 3, H, W)`` in [-1, 1] under labels of shape ``(N,)``."""
        features, quantisation, used = self.trunk.judge(images, momentum, statistics)
        return Judgement(self.head(features, labels), quantisation, used)
