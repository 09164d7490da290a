"""BigGAN's modified orthogonal regularisation: different filters of a layer shall be at right angles.

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
    """Half the sum over kernels of the squared norm of W W^T without its diagonal; a scalar.

    Its gradient is 2 (W W^T without diagonal) W, which the published code adds to a layer's gradient.

    Parameters
    ----------
    kernels
        Matrices and kernels, with as many rows W (output channels) as their first dimension has entries; at least one.

    Examples
    --------
    >>> orthogonality([torch.tensor([[1.0, 0.0], [1.0, 1.0]])])
    tensor(1.)
    """
    total = []
    for kernel in kernels:
        rows = kernel.flatten(1)
        products = rows @ rows.T
        total.append((products - torch.diag(products.diagonal())).square().sum() / 2)
    return torch.stack(total).sum()
