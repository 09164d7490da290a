"""The largest eigenvalue of a Hessian that is known only by its products with vectors."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor

from nni_wcnas.errors import DivergedError

__all__ = ['hessian_product', 'largest_eigenvalue']

Product = Callable[[np.ndarray], np.ndarray]
"""A symmetric matrix as a function that multiplies it by a vector of shape ``(D,)``."""


def hessian_product(loss: Tensor, parameters: Mapping[str, Tensor]) -> tuple[Product, int]:
    """Return a function that multiplies vectors by the Hessian of a scalar, by double backward passes.

    Parameters
    ----------
    loss
        A scalar with its graph, twice differentiable.
    parameters
        The tensors by which to differentiate, by name: D numbers in all.

    Returns
    -------
    A function that maps a vector of shape ``(D,)`` to another, in float64, and D. The graph of the gradient lives as
    long as the function.
    """
    tensors = list(parameters.values())
    gradients = torch.autograd.grad(loss, tensors, create_graph=True, allow_unused=True)
    # A parameter that plays no part has a row of zeros.
    gradient = torch.cat([(p * 0 if g is None else g).flatten() for p, g in zip(tensors, gradients)])

    # H v is the gradient of (dL/dp) . v. The graph is kept: Lanczos asks for dozens of products.
    def product(vector: np.ndarray) -> np.ndarray:
        direction = torch.from_numpy(vector).to(gradient)
        # Rows are zero where the gradient does not depend on a parameter.
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
    """Return the largest eigenvalue of a symmetric matrix, largest in sign and not in size, by Lanczos iteration.

    Parameters
    ----------
    product
        Multiplies the matrix by a vector of shape ``(D,)``.
    size
        Number D of rows of the matrix, at least 1.
    seed
        Seed of the random vector that the iteration starts from.
    tolerance
        Relative error of the eigenvalue.

    Raises
    ------
    ValueError
        If the first product is not finite, as after a search that diverged.
    """
    # ARPACK's own start is random; a seeded one makes stop rules repeatable.
    start = np.random.default_rng(seed).standard_normal(size)
    first = product(start)
    if not np.isfinite(first).all():
        raise DivergedError(
            'the Hessian is not finite: the search diverged', 'lower the learning rates or clip gradients'
        )
    # ARPACK refuses a matrix of one row, and one that is zero. In both cases H v = h v for any v, so one entry tells h.
    if size == 1 or not first.any():
        return float(first[0] / start[0])
    operator = LinearOperator((size, size), matvec=product, dtype=np.float64)
    return float(
        eigsh(
            operator,
            k=1,
            which='LA',  # Largest in sign; 'LM', the default, would take the largest absolute value.
            v0=start,
            tol=tolerance,
            return_eigenvectors=False,
        )[0]
    )
