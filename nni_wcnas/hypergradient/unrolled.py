"""Unrolled: the weights answer the architecture by one step of SGD.

    W' = W - lr (momentum m + grad L_tr(W, A) + decay W)
    dA = grad_A L_val(W', A) - lr (d2 L_tr / dA dW) . grad_W' L_val(W', A)

Acts in every architecture step. Cost: one forward and backward through the supernet for W', whose graph is kept, and a
second backward through that graph for the product (``'exact'``, the memory of two graphs); or two more passes
(``'finite_difference'``, the papers' form, in the memory of one). Both take about as long.

Finite differences at the published radius of 0.01 are mostly noise on networks of rectifiers: at W + epsilon v and
W - epsilon v other units are on, and what these add does not shrink with epsilon as the difference does. On digits (3
cells of 8 channels) such a product has several times the length of the exact one, and a cosine with it that is often
below 0.5; docs, "Second-order terms". ``Unrolled(by='finite_difference')`` is what the papers and their codes do.

``presets.darts_2nd()`` uses it. The optimiser of the weights must be plain SGD. Deviations from quark0/darts: exact
products by default; no second copy of the model, no write into live weights, running statistics untouched.

References
----------
Liu, Simonyan, Yang, "DARTS: Differentiable Architecture Search", ICLR 2019, equations 7 and 8; papers/wcnas, equations
7, 12 and 13.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from nni_wcnas.contracts import Hypergradient, Lookahead, Parameters, Step, TrainingPass
from nni_wcnas.errors import InvalidArgument
from nni_wcnas.functional.hypergradient import (
    RADIUS,
    By,
    InnerGradient,
    Loss,
    implicit_product,
    inner_gradient,
    leaves,
    scaled,
    sgd_step,
)
from nni_wcnas.functional.mixed_derivative import weights_held

__all__ = ['Unrolled']


@dataclass(frozen=True)
class Unrolled(Hypergradient):
    """Differentiate through one SGD step of the weights.

    Parameters
    ----------
    by
        How the second derivative meets the vector: ``'exact'`` (a second backward pass) or ``'finite_difference'`` (the
        papers).
    radius
        Length of the perturbation of all weights together in finite differences; None is the papers' 0.01.

    Raises
    ------
    ValueError
        On an unknown method, a radius that is not positive, or one for a method without perturbation.
    """

    by: By = 'exact'
    radius: float | None = None
    unrolls = True

    def __post_init__(self) -> None:
        if self.by not in ('finite_difference', 'exact'):
            raise InvalidArgument('by', self.by, "be 'finite_difference' or 'exact'")
        if self.radius is not None and self.by == 'exact':
            raise InvalidArgument(
                'radius', self.radius, "leave it out, or give by='finite_difference' as well",
                reason="does nothing with by='exact', which perturbs nothing",
            )
        if self.radius is not None and not 0 < self.radius < math.inf:
            raise InvalidArgument('radius', self.radius, 'be positive and finite')

    def ahead(self, step: Step, *, reuse: bool = False) -> Lookahead:
        """Return W' by a training pass at W and A, and the way back from it to A.

        Raises
        ------
        ValueError
            When the weights' optimiser is not plain SGD.
        """
        learner, train, numbers = step.learner, step.train, step.learner.sgd_step()

        def loss(weights: Parameters, alphas: Parameters) -> Tensor:
            return learner.loss(train.images, train.labels, weights, alphas, moves_statistics=is_first and reuse)

        # `loss` reads this flag when it is called: the first pass stands for the weight step's own where it is reused,
        # and moves the running statistics as that would.
        is_first = True
        # The gradient will be differentiated in A alone, so second derivatives by
        # the weights twice need not be computed.
        with weights_held():
            inner = self.inner(loss, learner.weights, learner.alphas)
        is_first = False  # Later passes, of a finite difference, only look.
        # W' = W - lr (momentum m + grad L_tr + decay W): equation 7 with the optimiser's own terms, as in quark0/darts.
        # They do not depend on A, so dW'/dA = - lr d2 L_tr / dA dW (equation 13).
        stepped = leaves(sgd_step(learner.weights, inner.gradients, **vars(numbers)))

        def indirect(vector: Parameters) -> Parameters:
            return scaled(inner.product(vector), -numbers.lr)

        return Lookahead(stepped, indirect, TrainingPass(inner.gradients, inner.loss))

    def inner(self, loss: Loss, parameters: Parameters, targets: Parameters) -> InnerGradient:
        """Return the gradient of an inner problem, and its product by the method of choice."""
        return inner_gradient(loss, parameters, targets, self.by, self.radius or RADIUS)

    def product(self, loss: Loss, parameters: Parameters, targets: Parameters, vector: Parameters) -> Parameters:
        """Return the product (d2 L / d targets d parameters) . vector by the method of choice."""
        return implicit_product(loss, parameters, targets, vector, self.by, self.radius or RADIUS)
