"""Unrolled: the weights answer the architecture by one step of SGD.

    W' = W - lr (momentum m + grad L_tr(W, A) + decay W)
    dA = grad_A L_val(W', A) - lr (d2 L_tr / dA dW) . grad_W' L_val(W', A)

Acts in every architecture step. Cost: one forward and backward through the supernet for W' and two for the product
(``'finite_difference'``), or one with a second-order graph (``'exact'``, about three times the memory).
``presets.darts_2nd()`` uses it. The optimiser of the weights must be plain SGD. Deviation from quark0/darts: no second
copy of the model, no write into live weights, running statistics untouched.

References
----------
Liu, Simonyan, Yang, "DARTS: Differentiable Architecture Search", ICLR 2019, equations 7 and 8; papers/wcnas, equations
7, 12 and 13.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from nni_wcnas.contracts import Hypergradient, Parameters, Step, TrainingPass
from nni_wcnas.functional.hypergradient import RADIUS, By, gradient, implicit_product, leaves, scaled, sgd_step

__all__ = ['Unrolled']


@dataclass(frozen=True)
class Unrolled(Hypergradient):
    """Differentiate through one SGD step of the weights.

    Parameters
    ----------
    by
        How the second derivative meets the vector: ``'finite_difference'`` (the papers) or ``'exact'`` (double
        backward).
    radius
        Of finite differences: length of the perturbation of all weights together; None is the papers' 0.01. The error
        falls with its square, down to where rounding takes over (float32: 1e-3).

    Raises
    ------
    ValueError
        On an unknown method, a radius that is not positive, or one for a method without perturbation.
    """

    by: By = 'finite_difference'
    radius: float | None = None
    unrolls = True

    def __post_init__(self) -> None:
        if self.by not in ('finite_difference', 'exact'):
            raise ValueError(f"by must be 'finite_difference' or 'exact', not {self.by!r}")
        if self.radius is not None and self.by == 'exact':
            raise ValueError(f"by='exact' perturbs nothing, so radius={self.radius} would do nothing; leave it out")
        if self.radius is not None and not 0 < self.radius < math.inf:
            raise ValueError(f'radius must be positive and finite, not {self.radius}')

    def ahead(self, step: Step, *, reuse: bool = False) -> tuple[Parameters, TrainingPass]:
        """W' and the training pass at W."""
        learner = step.learner
        alphas = {name: alpha.detach() for name, alpha in learner.alphas.items()}
        loss = learner.loss(step.train.images, step.train.labels, alphas=alphas, moves_statistics=reuse)
        gradients = gradient(loss, learner.weights)
        stepped = sgd_step(learner.weights, gradients, **vars(learner.sgd_step()))
        return leaves(stepped), TrainingPass(gradients, loss.detach())

    def indirect(self, step: Step, vector: Parameters) -> Parameters:
        """-lr (d2 L_tr / dA dW) . vector, at the live W and A."""
        learner = step.learner

        def architecture_gradient(weights: Parameters, create_graph: bool) -> Parameters:
            alphas = leaves(learner.alphas)
            return gradient(
                learner.loss(step.train.images, step.train.labels, weights, alphas), alphas, create_graph=create_graph
            )

        return scaled(self.product(architecture_gradient, learner.weights, vector), -learner.sgd_step().lr)

    def product(
        self, gradient: Callable[[Parameters, bool], Parameters], parameters: Parameters, vector: Parameters
    ) -> Parameters:
        """The implicit product by the method of choice."""
        return implicit_product(gradient, parameters, vector, self.by, self.radius or RADIUS)
