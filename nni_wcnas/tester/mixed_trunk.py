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
"""Candidates for a residual branch, in the order of the logits' columns."""

ARCHITECTURE = 'trunk.logits'
"""Name that the architecture's logits have among the named parameters of a discriminator."""


class Attention(nn.Module):
    """Self-attention: each pixel becomes a weighted sum over the pixels of a map of half the side.

    Parameters
    ----------
    channels
        Channels of input and output; queries and keys have an eighth of them, values half.
    """

    def __init__(self, channels: int):
        super().__init__()
        # Channels, and keys of half the side, as in BigGAN. Its learned gain is left out: the candidate's weight takes
        # its place.
        small, half = max(channels // 8, 1), max(channels // 2, 1)
        self.query, self.key = (spectral_norm(nn.Conv2d(channels, small, 1, bias=False)) for _ in range(2))
        self.value = spectral_norm(nn.Conv2d(channels, half, 1, bias=False))
        self.output = spectral_norm(nn.Conv2d(half, channels, 1, bias=False))

    def forward(self, features: Tensor) -> Tensor:
        """Map ``(N, C, H, W)`` to the same shape, for even sides; differentiable twice."""
        query = self.query(features).flatten(2)  # (N, C / 8, HW)
        key = F.max_pool2d(self.key(features), 2).flatten(2)  # (N, C / 8, HW / 4)
        value = F.max_pool2d(self.value(features), 2).flatten(2)  # (N, C / 2, HW / 4)
        # Softmax over keys, without a division by sqrt(C / 8), as in SAGAN. Written out, since the fused attentions
        # have no second derivative.
        attention = torch.einsum('ncq,nck->nqk', query, key).softmax(dim=2)  # (N, HW, HW / 4)
        mixed = torch.einsum('nvk,nqk->nvq', value, attention)  # (N, C / 2, HW)
        return self.output(mixed.unflatten(2, features.shape[2:]))


class MixedTrunk(nn.Module):
    """A discriminator's trunk whose blocks mix their candidate branches by learned weights.

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
        # A row of three logits for each block but the first; zeros weigh the candidates alike.
        self.logits = nn.Parameter(torch.zeros(len(self.attentions), len(OPERATIONS)))

    def forward(self, images: Tensor) -> Tensor:
        """Map images ``(N, 3, H, W)`` in [-1, 1] to features ``(N, width)``."""
        features = self.blocks[0](images)
        for block, attention, weights in zip(self.blocks[1:], self.attentions, self.logits.softmax(dim=1), strict=True):
            features = _mixed(cast(DownBlock, block), attention, weights, features)
        return pooled(features)


def _mixed(block: DownBlock, attention: nn.Module, weights: Tensor, features: Tensor) -> Tensor:
    """Return the shortcut plus the weighted branches, pooled where the block halves."""
    # weights[1], the skip's, multiplies a branch of zeros: through the softmax it shrinks the other two.
    branch = weights[0] * block.convolved(features) + weights[2] * attention(features)
    mixed = block.shortcut(features) + branch
    return F.avg_pool2d(mixed, 2) if block.halve else mixed
