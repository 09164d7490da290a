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
    """What the discriminator finds in a batch of N images."""

    scores: Tensor
    """Scores, shape ``(N,)``; higher is more real, whatever the class."""
    embeddings: Tensor
    """e, the embeddings of the images, shape ``(N, D)``."""
    proxies: Tensor
    """p, the proxy of each image's class, shape ``(N, D)``."""
    labels: Tensor
    """Classes of the images, shape ``(N,)``."""

    def first(self, count: int) -> Embedded:
        """Return the same for the first ``count`` images of the batch alone."""
        return Embedded(*(part[:count] for part in self))

    def contrast(self, temperature: Tensor) -> Tensor:
        """Return the conditional contrastive loss of the batch (equation 8), a scalar."""
        return conditional_contrastive(self.embeddings, self.proxies, self.labels, temperature)


class ContrastiveDiscriminator(nn.Module):
    """ContraGAN's discriminator: a trunk with a score and an embedding, and a learned proxy for each class.

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
        # Without a spectral norm: 2C normalises proxies to unit length, so that only their directions count, and
        # dividing all of them by one number would not change these.
        self.proxies = nn.Embedding(num_classes, embedding_size)

    def forward(self, images: Tensor, labels: Tensor) -> Embedded:
        """Judge images of shape ``(N, 3, H, W)`` in [-1, 1] under labels of shape ``(N,)``."""
        features = self.trunk(images)  # (N, width)
        # Score and embedding are two heads on the same features; the proxies alone depend on the labels.
        return Embedded(self.score(features).squeeze(1), self.embedding(features), self.proxies(labels), labels)
