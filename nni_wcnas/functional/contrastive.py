"""The conditional contrastive loss 2C, which draws an image to its class and to the other images of its class.

::

    loss_i = - log  [exp(cos(e_i, p_i) / t) + sum over j != i of the same class  exp(cos(e_i, e_j) / t)]
                    ---------------------------------------------------------------------------------
                    [exp(cos(e_i, p_i) / t) + sum over j != i                    exp(cos(e_i, e_j) / t)]

References
----------
Kang and Park, ContraGAN: Contrastive Learning for Conditional Image Generation, NeurIPS 2020, equation 8.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ['conditional_contrastive']


def conditional_contrastive(embeddings: Tensor, proxies: Tensor, labels: Tensor, temperature: Tensor | float) -> Tensor:
    """Return the 2C loss, the mean over a batch. Where no class repeats, the proxies are the only positives.

    Parameters
    ----------
    embeddings
        Embeddings e of the images, shape ``(N, D)``; only their directions count.
    proxies
        Embedding p of each image's class, shape ``(N, D)``; only their directions count.
    labels
        Classes of the images, shape ``(N,)``.
    temperature
        t, positive, a scalar.

    Returns
    -------
    Scalar, at least 0; 0 where all images are of one class. Differentiable any number of times in all but the labels.
    It is finite at every temperature for which 2 / t can be computed.

    Examples
    --------
    >>> same = torch.eye(2)
    >>> conditional_contrastive(same, same, torch.tensor([0, 1]), 1.0)  # log(1 + exp(-1))
    tensor(0.3133)
    """
    # With unit vectors, cosines are inner products.
    embeddings, proxies = F.normalize(embeddings), F.normalize(proxies)
    to_proxies = (embeddings * proxies).sum(dim=1, keepdim=True)  # (N, 1)
    similarity = torch.cat([to_proxies, embeddings @ embeddings.T], dim=1) / temperature  # (N, 1 + N)
    # An image is no partner of its own: cos(e_i, e_i) = 1 would swamp both sums.
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    other_class = labels[:, None] != labels
    all_pairs = similarity.masked_fill(_beside_proxy(itself), -math.inf)
    positives = similarity.masked_fill(_beside_proxy(itself | other_class), -math.inf)
    # -log(numerator / denominator), as a difference of logarithms that cannot overflow. exp(-inf) = 0 drops the masked
    # pairs, and no row is masked as a whole, as its proxy stays.
    return (all_pairs.logsumexp(dim=1) - positives.logsumexp(dim=1)).mean()


def _beside_proxy(mask: Tensor) -> Tensor:
    """Put a column in front of a mask of pairs ``(N, N)`` that masks no proxy; shape ``(N, 1 + N)``."""
    return F.pad(mask, (1, 0), value=False)
