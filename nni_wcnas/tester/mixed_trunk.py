"""The trunk of a discriminator whose architecture can be learned: each block mixes three candidates for its residual
branch.

::

    block(x) = shortcut(x) + w_convolution * convolutions(x) + w_skip * 0 + w_attention * attention(x)
    w = softmax of the block's row of logits

The first block, which sees the image itself, has its convolutions alone. The form of the search space is ours: DASGM
learns "the architecture of the discriminator" and describes none.

References
----------
papers/dasgm, equations 1 and 7; Zhang et al., Self-Attention Generative Adversarial Networks, 2019, for the attention.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from nni_wcnas.tester.discriminator import DownBlock, down_blocks, pooled

__all__ = ['ARCHITECTURE', 'OPERATIONS', 'MixedTrunk']

OPERATIONS = ('convolution', 'skip', 'attention')
"""Candidates for a residual branch."""

ARCHITECTURE = 'trunk.logits'
"""Name of the architecture among the parameters of a discriminator."""


class Attention(nn.Module):
    """Each pixel's weighted sum over the pixels of a map of half the side; differentiable twice.

    Parameters
    ----------
    channels
        Channels of input and output; queries and keys have an eighth of them, values half.
    """

    def __init__(self, channels: int):
        super().__init__()
        small, half = max(channels // 8, 1), max(channels // 2, 1)
        self.query, self.key = (spectral_norm(nn.Conv2d(channels, small, 1, bias=False)) for _ in range(2))
        self.value = spectral_norm(nn.Conv2d(channels, half, 1, bias=False))
        self.output = spectral_norm(nn.Conv2d(half, channels, 1, bias=False))

    def forward(self, features: Tensor) -> Tensor:
        """Map ``(N, C, H, W)`` to the same shape."""
        query = self.query(features).flatten(2)  # (N, C / 8, HW)
        key = F.max_pool2d(self.key(features), 2).flatten(2)  # (N, C / 8, HW / 4)
        value = F.max_pool2d(self.value(features), 2).flatten(2)  # (N, C / 2, HW / 4)
        attention = torch.einsum('ncq,nck->nqk', query, key).softmax(dim=2)
        mixed = torch.einsum('nvk,nqk->nvq', value, attention)
        return self.output(mixed.unflatten(2, features.shape[2:]))


class MixedTrunk(nn.Module):
    """Images to features, through blocks that mix their candidates.

    Parameters
    ----------
    image_size
        Side of the image: 8 times a power of two.
    width
        Channels of every block.
    """

    def __init__(self, image_size: int, width: int):
        super().__init__()
        self.width = width
        self.blocks = down_blocks(image_size, width)
        self.attentions = nn.ModuleList(Attention(width) for _ in self.blocks[1:])
        self.logits = nn.Parameter(torch.zeros(len(self.attentions), len(OPERATIONS)))

    def forward(self, images: Tensor) -> Tensor:
        """Map images ``(N, 3, H, W)`` in [-1, 1] to features ``(N, width)``."""
        features = self.blocks[0](images)
        for block, attention, weights in zip(self.blocks[1:], self.attentions, self.logits.softmax(dim=1), strict=True):
            features = _mixed(cast(DownBlock, block), attention, weights, features)
        return pooled(features)


def _mixed(block: DownBlock, attention: nn.Module, weights: Tensor, features: Tensor) -> Tensor:
    """Shortcut and weighted branches, pooled where the block halves; the skip's branch is nothing."""
    branch = weights[0] * block.convolved(features) + weights[2] * attention(features)
    mixed = block.shortcut(features) + branch
    return F.avg_pool2d(mixed, 2) if block.halve else mixed
