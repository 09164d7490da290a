"""Hinge losses and non-saturating logistic losses of a generative adversarial pair.

References
----------
Lim and Ye, Geometric GAN, 2017; Miyato et al., Spectral Normalization for Generative Adversarial Networks, 2018,
equations 16 and 17; Goodfellow et al., Generative Adversarial Nets, 2014, section 3.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

__all__ = ['discriminator_hinge', 'discriminator_logistic', 'generator_hinge', 'generator_logistic']


def discriminator_hinge(real: Tensor, fake: Tensor) -> Tensor:
    """Return the hinge loss of a discriminator: mean of max(0, 1 - real) plus mean of max(0, 1 + fake).

    Parameters
    ----------
    real
        Scores of real images, any shape; unbounded, higher is more real.
    fake
        Scores of generated images, any shape.

    Returns
    -------
    Scalar, zero when every real image scores at least 1 and every generated one at most -1.

    Examples
    --------
    >>> import torch
    >>> discriminator_hinge(torch.tensor([2.0, 0.0]), torch.tensor([-0.5]))
    tensor(1.)
    """
    return (1 - real).relu().mean() + (1 + fake).relu().mean()


def generator_hinge(fake: Tensor) -> Tensor:
    """Return the hinge loss of a generator: minus the mean score of its images.

    Parameters
    ----------
    fake
        Scores of generated images, any shape.

    Returns
    -------
    Scalar.

    Examples
    --------
    >>> import torch
    >>> generator_hinge(torch.tensor([1.0, 3.0]))
    tensor(-2.)
    """
    # No hinge: where a discriminator's hinge is inactive, the generator still has a gradient.
    return -fake.mean()


def discriminator_logistic(real: Tensor, fake: Tensor) -> Tensor:
    """Return the logistic loss of a discriminator: mean of log(1 + exp(-real)) plus mean of log(1 + exp(fake)).

    Parameters
    ----------
    real
        Scores of real images, any shape: the logit of being real.
    fake
        Scores of generated images, any shape.

    Returns
    -------
    Scalar, positive.

    Examples
    --------
    >>> import torch
    >>> discriminator_logistic(torch.tensor([0.0]), torch.tensor([0.0]))
    tensor(1.3863)
    """
    # softplus(x) = log(1 + exp(x)), without overflow. It is the cross-entropy of real images as 1 and generated ones as
    # 0.
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def generator_logistic(fake: Tensor) -> Tensor:
    """Return the non-saturating logistic loss of a generator: mean of log(1 + exp(-fake)).

    Its gradient does not vanish where the discriminator is sure that images are generated.

    Parameters
    ----------
    fake
        Scores of generated images, any shape.

    Returns
    -------
    Scalar, positive.

    Examples
    --------
    >>> import torch
    >>> generator_logistic(torch.tensor([0.0, -100.0]))
    tensor(50.3466)
    """
    # -log D(G(z)) instead of log(1 - D(G(z))): the same fixed point, a steeper slope at the start (Goodfellow et al.,
    # section 3).
    return F.softplus(-fake).mean()
