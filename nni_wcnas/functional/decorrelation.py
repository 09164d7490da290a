"""DeCov: a penalty on the correlations between features, which keeps a learner from leaning on redundant ones.

Deviation: Cogswell et al. sum the squared *covariances* of all pairs, which grow with the square of the number of
features and the fourth power of their scale; at their weight of 0.1 that sum drowned the loss which a search is about
(141 to 222 beside a cross-entropy of 2.3, with 128 features). The mean of the squared *correlations* has no scale: it
lies in [0, 1], whatever the network.

References
----------
Cogswell et al., Reducing Overfitting in Deep Networks by Decorrelating Representations, 2016, equation 2.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ['decorrelation']


def decorrelation(features: Tensor) -> Tensor:
    """Return the mean squared correlation of different features: the sum over i != j of r_ij^2 / (F (F - 1)).

    A feature that is constant over the batch is correlated with none. With a single feature, or a batch of one, the
    penalty is zero.

    Parameters
    ----------
    features
        Activations of N examples, shape ``(N, F)``.

    Returns
    -------
    Scalar in [0, 1]: zero for uncorrelated features, one where all are multiples of one.

    Raises
    ------
    ValueError
        If ``features`` is not a matrix.

    Examples
    --------
    >>> import torch
    >>> decorrelation(torch.tensor([[1.0, 2.0], [-1.0, 2.0], [1.0, -2.0], [-1.0, -2.0]])).item()
    0.0
    """
    if features.ndim != 2:
        raise ValueError(f'Features must have shape (N, F), but have {tuple(features.shape)}; flatten them first.')
    count = features.shape[1]
    if count < 2:
        # A zero with a graph, so that callers can differentiate it like any other value.
        return 0 * features.sum()
    centred = features - features.mean(dim=0)
    length = centred.square().sum(dim=0)
    # Not clamp(min=tiny): a constant feature, off by rounding, would be blown up to unit length.
    varies = length > torch.finfo(length.dtype).eps * features.square().sum(dim=0)
    # r_ij = <u_i, u_j> with u_i the centred feature at unit length. Constant features are divided by 1 and then set to
    # 0: rsqrt(0) would be infinite, and its gradient NaN even where the result is masked.
    unit = centred * torch.where(varies, length, torch.ones_like(length)).rsqrt() * varies
    correlation = unit.T @ unit  # (F, F)
    return (correlation.square().sum() - correlation.diagonal().square().sum()) / (count * (count - 1))
