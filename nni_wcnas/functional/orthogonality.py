"""BigGAN's modified orthogonal regularisation, which draws different filters of a layer towards right angles.

References
----------
Brock et al., Large Scale GAN Training for High Fidelity Natural Image Synthesis, 2019, equation 3.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

__all__ = ['orthogonality']


def orthogonality(kernels: Iterable[Tensor]) -> Tensor:
    """Return half the sum over kernels of the squared norm of W W^T without its diagonal; a scalar.

    Its gradient is 2 (W W^T without diagonal) W, which the published code adds to a layer's gradient.

    Parameters
    ----------
    kernels
        Matrices and kernels, at least one. Each is read as a matrix W with one row for each output channel, its first
        dimension.

    Examples
    --------
    >>> orthogonality([torch.tensor([[1.0, 0.0], [1.0, 1.0]])])
    tensor(1.)
    """
    total = []
    for kernel in kernels:
        # One row for each filter, shape (out, in K K).
        rows = kernel.flatten(1)
        products = rows @ rows.T
        # The diagonal, which holds the squared lengths of the filters, is free: only their angles are penalised.
        total.append((products - torch.diag(products.diagonal())).square().sum() / 2)
    return torch.stack(total).sum()
