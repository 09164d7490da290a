"""The discriminator: residual blocks with spectral normalisation, a quantiser after each, and a projection head.

References
----------
Brock et al., Large Scale GAN Training for High Fidelity Natural Image Synthesis, 2019, appendix B; Miyato and Koyama,
cGANs with Projection Discriminator, 2018; Zhao et al., Feature Quantization Improves GAN Training, 2020, section 4.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from nni_wcnas.functional.quantisation import Statistics
from nni_wcnas.tester.quantiser import Quantiser

__all__ = ['Discriminator', 'DownBlock', 'Judgement', 'Trunk']

_LAST_SIZE = 8
"""Side of the feature map that down-sampling stops at."""


class Judgement(NamedTuple):
    """What the discriminator says of a batch."""

    scores: Tensor
    """Shape ``(N,)``, higher is more real."""
    quantisation: Tensor
    """Quantisation loss, a scalar: the mean over the batch, summed over the blocks."""
    statistics: tuple[Statistics, ...]
    """What each block's dictionary would learn from the batch."""


class DownBlock(nn.Module):
    """Residual block of two convolutions, optionally halving the side by average pooling.

    Parameters
    ----------
    in_channels, out_channels
        Channels of input and output.
    halve
        Halve the side.
    first
        The block sees the image itself: no ReLU before its first convolution, and its shortcut pools before it
        convolves.
    """

    def __init__(self, in_channels: int, out_channels: int, *, halve: bool, first: bool = False):
        super().__init__()
        self.halve = halve
        self.first = first
        self.conv1 = spectral_norm(nn.Conv2d(in_channels, out_channels, 3, padding=1))
        self.conv2 = spectral_norm(nn.Conv2d(out_channels, out_channels, 3, padding=1))
        learned = halve or in_channels != out_channels
        self.shortcut = spectral_norm(nn.Conv2d(in_channels, out_channels, 1)) if learned else nn.Identity()

    def forward(self, features: Tensor) -> Tensor:
        """Map ``(N, in, H, W)`` to ``(N, out, H, W)`` or ``(N, out, H/2, W/2)``."""
        # Out of place: the shortcut needs the features as they were.
        hidden = self.conv2(self.conv1(features if self.first else features.relu()).relu())
        if not self.halve:
            return hidden + self.shortcut(features)
        if self.first:
            return F.avg_pool2d(hidden, 2) + self.shortcut(F.avg_pool2d(features, 2))
        return F.avg_pool2d(hidden + self.shortcut(features), 2)


class Trunk(nn.Module):
    """Images to features: as many halving blocks as lead to 8 pixels, two more blocks, ReLU, and a sum over the pixels.

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
        num_halving = (image_size // _LAST_SIZE).bit_length() - 1
        blocks = [DownBlock(3, width, halve=True, first=True)]
        blocks += [DownBlock(width, width, halve=index < num_halving) for index in range(1, num_halving + 2)]
        self.blocks = nn.ModuleList(blocks)
        self.quantisers = nn.ModuleList(Quantiser(dictionary_size, width, feed=feed_quantized) for _ in blocks)

    def forward(self, images: Tensor) -> Tensor:
        """Map images ``(N, 3, H, W)`` in [-1, 1] to features ``(N, width)``, with the dictionaries as they are."""
        features = images
        for block, quantiser in self._pairs():
            features = quantiser.present(block(features))
        return _pooled(features)

    def judge(self, images: Tensor, momentum: Tensor, statistics: tuple[Statistics, ...] | None = None) -> Judgement:
        """Features in place of scores, and the quantisation loss against the dictionaries this batch leads to."""
        features, losses, used = images, [], []
        for index, (block, quantiser) in enumerate(self._pairs()):
            fixed = None if statistics is None else statistics[index]
            features, loss, own = quantiser(block(features), momentum, fixed)
            losses.append(loss)
            used.append(own)
        return Judgement(_pooled(features), torch.stack(losses).sum(), tuple(used))

    def commit(self, statistics: tuple[Statistics, ...], momentum: Tensor | float) -> None:
        """Let each block's dictionary learn from one batch."""
        for (_, quantiser), own in zip(self._pairs(), statistics, strict=True):
            quantiser.commit(own, momentum)

    def _pairs(self) -> list[tuple[nn.Module, Quantiser]]:
        """Each block with its quantiser."""
        return [(block, cast(Quantiser, own)) for block, own in zip(self.blocks, self.quantisers, strict=True)]


class Discriminator(nn.Module):
    """Trunk and projection head: a linear score plus the inner product of the features with an embedding of the class.

    Parameters
    ----------
    num_classes
        Number of classes.
    image_size, width, dictionary_size, feed_quantized
        See :class:`Trunk`.
    """

    def __init__(self, num_classes: int, image_size: int, width: int, dictionary_size: int, *,
                 feed_quantized: bool = False):
        super().__init__()
        self.trunk = Trunk(image_size, width, dictionary_size, feed_quantized=feed_quantized)
        self.linear = spectral_norm(nn.Linear(width, 1))
        self.embedding = spectral_norm(nn.Embedding(num_classes, width))

    def forward(self, images: Tensor, labels: Tensor, momentum: Tensor,
                statistics: tuple[Statistics, ...] | None = None) -> Judgement:
        """Judge images of shape ``(N, 3, H, W)`` in [-1, 1] under labels of shape ``(N,)``."""
        features, quantisation, used = self.trunk.judge(images, momentum, statistics)
        scores = self.linear(features).squeeze(1) + (self.embedding(labels) * features).sum(dim=1)
        return Judgement(scores, quantisation, used)


def _pooled(features: Tensor) -> Tensor:
    """ReLU and the sum over the pixels: ``(N, C, H, W)`` to ``(N, C)``."""
    return features.relu().sum(dim=(2, 3))
