"""ContraGAN's discriminator: a score that knows no classes, and an embedding that classes are compared in.

References
----------
Kang and Park, ContraGAN: Contrastive Learning for Conditional Image Generation, NeurIPS 2020, section 3.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from nni_wcnas.functional.contrastive import conditional_contrastive
from nni_wcnas.tester.discriminator import Trunk

__all__ = ['ContrastiveDiscriminator', 'Embedded']


class Embedded(NamedTuple):
    """What the discriminator says of a batch."""

    scores: Tensor
    """Shape ``(N,)``, higher is more real, whatever the class."""
    embeddings: Tensor
    """Of the images, shape ``(N, D)``."""
    proxies: Tensor
    """Of their classes, shape ``(N, D)``."""
    labels: Tensor
    """Their classes, shape ``(N,)``."""

    def first(self, count: int) -> Embedded:
        """The same of the first images of the batch."""
        return Embedded(*(part[:count] for part in self))

    def contrast(self, temperature: Tensor) -> Tensor:
        """The conditional contrastive loss of the batch, a scalar."""
        return conditional_contrastive(self.embeddings, self.proxies, self.labels, temperature)


class ContrastiveDiscriminator(nn.Module):
    """Trunk, score, embedding and a proxy of each class.

    Parameters
    ----------
    num_classes
        Number of classes.
    image_size, width
        See :class:`nni_wcnas.tester.discriminator.Trunk`.
    embedding_size
        Entries of an embedding.
    """

    def __init__(self, num_classes: int, image_size: int, width: int, embedding_size: int):
        super().__init__()
        self.trunk = Trunk(image_size, width)
        self.score = spectral_norm(nn.Linear(width, 1))
        self.embedding = spectral_norm(nn.Linear(width, embedding_size))
        # Only directions of proxies count, which a spectral norm would leave as they are.
        self.proxies = nn.Embedding(num_classes, embedding_size)

    def forward(self, images: Tensor, labels: Tensor) -> Embedded:
        """Judge images of shape ``(N, 3, H, W)`` in [-1, 1] under labels of shape ``(N,)``."""
        features = self.trunk(images)
        return Embedded(self.score(features).squeeze(1), self.embedding(features), self.proxies(labels), labels)
