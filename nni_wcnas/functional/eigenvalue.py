"""The largest eigenvalue of a Hessian that is known by its products with vectors alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor

__all__ = ['hessian_product', 'largest_eigenvalue']

Product = Callable[[np.ndarray], np.ndarray]


def hessian_product(loss: Tensor, parameters: Mapping[str, Tensor]) -> tuple[Product, int]:
    """Products of vectors with the Hessian of a scalar, by double backward passes.

    Parameters
    ----------
    loss
        A scalar with its graph, twice differentiable.
    parameters
        By which to differentiate: D numbers in all.

    Returns
    -------
    What maps a vector of shape ``(D,)`` to another, in float64, and D. The graph lives as long as the function.
    """
    tensors = list(parameters.values())
    gradients = torch.autograd.grad(loss, tensors, create_graph=True, allow_unused=True)
    # A parameter that plays no part has a row of zeros.
    gradient = torch.cat([(p * 0 if g is None else g).flatten() for p, g in zip(tensors, gradients)])

    def product(vector: np.ndarray) -> np.ndarray:
        direction = torch.from_numpy(vector).to(gradient)
        rows = torch.autograd.grad(
            gradient,
            tensors,
            direction,
            retain_graph=True,
            allow_unused=True,
            materialize_grads=True,
        )
        return torch.cat([row.flatten() for row in rows]).double().cpu().numpy()

    return product, len(gradient)


def largest_eigenvalue(product: Product, size: int, seed: int = 0, tolerance: float = 1e-4) -> float:
    """Of a symmetric matrix, the largest in sign and not in size, by Lanczos iteration.

    Parameters
    ----------
    product
        Of the matrix with a vector of shape ``(D,)``.
    size
        D.
    seed
        Of the vector to start from.
    tolerance
        Relative error.

    Raises
    ------
    ValueError
        When a product is not finite.
    """
    start = np.random.default_rng(seed).standard_normal(size)
    first = product(start)
    if not np.isfinite(first).all():
        raise ValueError('the Hessian is not finite: the search diverged; lower the learning rates or clip gradients')
    if size == 1 or not first.any():  # ARPACK wants two dimensions, and a matrix that is not zero
        return float(first[0] / start[0])
    operator = LinearOperator((size, size), matvec=product, dtype=np.float64)
    return float(
        eigsh(
            operator,
            k=1,
            which='LA',
            v0=start,
            tol=tolerance,
            return_eigenvectors=False,
        )[0]
    )
