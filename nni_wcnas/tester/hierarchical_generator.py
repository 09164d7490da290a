"""BigGAN's generator with a shared embedding and a hierarchical latent.

The latent is cut into equal parts. The first part is mapped to the first feature map, and each block has one of the
others. Together with the embedding of the class, which all blocks share, it gives the gains and biases of the block's
norms.

References
----------
Brock et al., Large Scale GAN Training for High Fidelity Natural Image Synthesis, 2019, section 3.1 and appendix B;
papers/dasgm, section 5.2, uses this form.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nni_wcnas.errors import InvalidArgument
from nni_wcnas.tester.generator import BASE_SIZE, UpBlock, count_blocks, draw_weights

__all__ = ['HierarchicalGenerator', 'VectorBatchNorm']

_SHARED = 128
"""Entries of the shared embedding of a class; BigGAN's number."""


class VectorBatchNorm(nn.Module):
    """Batch norm whose gain 1 + g(c) and bias b(c) are linear in a condition vector c.

    Parameters
    ----------
    channels
        Channels of the input.
    size
        Entries of the condition vector.
    """

    def __init__(self, channels: int, size: int):
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.gain = nn.Linear(size, channels, bias=False)
        self.bias = nn.Linear(size, channels, bias=False)

    def forward(self, features: Tensor, condition: Tensor) -> Tensor:
        """Normalise features of shape ``(N, C, H, W)`` for condition vectors of shape ``(N, size)``."""
        gain = 1 + self.gain(condition)[:, :, None, None]  # (N, C, 1, 1)
        # b(c) + (1 + g(c)) * norm(x)
        return torch.addcmul(self.bias(condition)[:, :, None, None], gain, self.norm(features))


class HierarchicalGenerator(nn.Module):
    """BigGAN's hierarchical generator: maps a latent and a label to an image in [-1, 1].

    Parameters
    ----------
    num_classes
        Number of classes.
    image_size
        Side of the image: 4 times a power of two.
    width
        Channels of every block.
    latent
        Entries of the latent vector: a multiple of one more than the number of blocks.

    Raises
    ------
    ValueError
        If the latent vector cannot be cut into equal parts.
    """

    def __init__(self, num_classes: int, image_size: int, width: int, latent: int):
        super().__init__()
        num_blocks = count_blocks(image_size)
        self.part, rest = divmod(latent, num_blocks + 1)
        if rest:
            raise InvalidArgument(
                'latent', latent, f'choose a multiple of {num_blocks + 1}, such as 120',
                reason=f'is not {num_blocks + 1} equal parts, of which images of {image_size} pixels are made',
            )
        self.width = width
        self.shared = nn.Embedding(num_classes, _SHARED)
        self.linear = nn.Linear(self.part, width * BASE_SIZE ** 2)
        self.blocks = nn.ModuleList(UpBlock(width, lambda: VectorBatchNorm(width, _SHARED + self.part))
                                    for _ in range(num_blocks))
        self.norm = nn.BatchNorm2d(width)
        self.to_image = nn.Conv2d(width, 3, 3, padding=1)
        draw_weights(self)
        # draw_weights leaves embeddings alone, and torch draws them from N(0, 1): BigGAN's start is that of a matrix.
        nn.init.normal_(self.shared.weight, std=0.02)

    def forward(self, latent: Tensor, labels: Tensor) -> Tensor:
        """Map latents ``(N, latent)`` and labels ``(N,)`` to images ``(N, 3, image_size, image_size)``."""
        first, *others = latent.split(self.part, dim=1)  # (N, part) each, one more than there are blocks.
        shared = self.shared(labels)
        features = self.linear(first).view(-1, self.width, BASE_SIZE, BASE_SIZE)  # (N, width, 4, 4)
        for block, part in zip(self.blocks, others, strict=True):
            # The condition of a block: (N, 128 + part).
            features = block(features, torch.cat([shared, part], dim=1))
        return self.to_image(self.norm(features).relu()).tanh()
