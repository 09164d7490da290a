"""Hinge losses of a generative adversarial pair.

References
----------
Lim and Ye, Geometric GAN, 2017; Miyato et al., Spectral Normalization for Generative Adversarial Networks, 2018,
equations 16 and 17.
"""

from __future__ import annotations

from torch import Tensor

__all__ = ['discriminator_hinge', 'generator_hinge']


def discriminator_hinge(real: Tensor, fake: Tensor) -> Tensor:
    """Mean of max(0, 1 - real) plus mean of max(0, 1 + fake).

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
    """Minus the mean score of generated images.

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
    return -fake.mean()
