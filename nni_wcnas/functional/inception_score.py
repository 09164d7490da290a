"""How confident and how diverse a classifier finds a set of images: the inception score.

Reference: Salimans et al., Improved Techniques for Training GANs, 2016, section 4; without splits, which only serve an
error bar. The caller says which classifier the probabilities are from; only scores of one classifier can be compared.
"""

from __future__ import annotations

from torch import Tensor

__all__ = ['inception_score']


def inception_score(probabilities: Tensor) -> Tensor:
    """Return the exponential of the mean Kullback-Leibler divergence of p(class | image) from p(class).

    Parameters
    ----------
    probabilities
        p(class | image), shape ``(N, C)``, each row a distribution; zeros are allowed.

    Returns
    -------
    Tensor
        A scalar from 1, where all images are classified alike, to C, where each is surely of one class, all equally
        often.

    Examples
    --------
    >>> import torch
    >>> inception_score(torch.eye(4)), inception_score(torch.full((3, 2), 0.5))
    (tensor(4.), tensor(1.))
    """
    of_classes = probabilities.mean(0)
    # The limit of p log(p / q) at p = 0 is 0; a class that no image has any of counts for nothing.
    entropy = -probabilities.xlogy(probabilities).sum(1).mean()
    # mean KL(p(class | image) || p(class)) = H(p(class)) - mean H(p(class | image)).
    return (-of_classes.xlogy(of_classes).sum() - entropy).exp()
