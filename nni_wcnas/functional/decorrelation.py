"""DeCov: a penalty on the covariances between features, which keeps a learner from leaning on redundant ones.

References
----------
Cogswell et al., Reducing Overfitting in Deep Networks by Decorrelating Representations, 2016, equation 2.
"""

from __future__ import annotations

from torch import Tensor

__all__ = ['decorrelation']


def decorrelation(features: Tensor) -> Tensor:
    """Half the sum of the squared off-diagonal entries of the batch covariance C: (||C||_F^2 - ||diag C||^2) / 2.

    C divides by N, not by N - 1, so a batch of one has a penalty of zero.

    Parameters
    ----------
    features
        Activations, shape ``(N, F)``.

    Returns
    -------
    Scalar, zero for uncorrelated features.

    Raises
    ------
    ValueError
        If ``features`` is not a matrix.

    Examples
    --------
    >>> import torch
    >>> decorrelation(torch.tensor([[1.0, 1.0], [-1.0, -1.0]]))
    tensor(1.)
    """
    if features.ndim != 2:
        raise ValueError(f'Features must have shape (N, F), but have {tuple(features.shape)}; flatten them first.')
    centred = features - features.mean(dim=0)
    covariance = centred.T @ centred / len(features)  # (F, F)
    return 0.5 * (covariance.square().sum() - covariance.diagonal().square().sum())
