"""FirstOrder: the architecture takes the weights as they are.

W' = W and dW'/dA = 0. One forward and backward through the supernet for each validation term, nothing else.
``Search()`` uses it. The tester's own chain (equations 15 and 16) still needs products, which are exact.

References
----------
Liu, Simonyan, Yang, "DARTS: Differentiable Architecture Search", ICLR 2019, section 2.3, first-order approximation.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from nni_wcnas.contracts import Hypergradient, Lookahead, Parameters, Step
from nni_wcnas.functional.hypergradient import InnerGradient, Loss, implicit_product, inner_gradient, leaves

__all__ = ['FirstOrder']


@dataclass(frozen=True)
class FirstOrder(Hypergradient):
    """Ignore how the weights depend on the architecture."""

    unrolls = False

    def ahead(self, step: Step, *, reuse: bool = False) -> Lookahead:
        """Return the weights as they are, which do not depend on the architecture."""
        del reuse  # Unused: there is no pass to reuse.

        def zero(vector: Parameters) -> Parameters:
            del vector  # Unused: it leads nowhere.
            return {name: torch.zeros_like(alpha) for name, alpha in step.learner.alphas.items()}

        # Leaves, as an objective may differentiate by W' without asking how it came about.
        return Lookahead(leaves(step.learner.weights), zero, None)

    def inner(self, loss: Loss, parameters: Parameters, targets: Parameters) -> InnerGradient:
        """Return the gradient of an inner problem of the tester's chain, with its exact product."""
        return inner_gradient(loss, parameters, targets)

    def product(self, loss: Loss, parameters: Parameters, targets: Parameters, vector: Parameters) -> Parameters:
        """Return the exact product (d2 L / d targets d parameters) . vector."""
        return implicit_product(loss, parameters, targets, vector)
