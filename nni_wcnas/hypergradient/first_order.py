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
        """The weights as they are, which do not depend on the architecture."""
        del reuse  # Unused: there is no pass to reuse.

        def zero(vector: Parameters) -> Parameters:
            del vector  # Unused: it leads nowhere.
            return {name: torch.zeros_like(alpha) for name, alpha in step.learner.alphas.items()}

        return Lookahead(leaves(step.learner.weights), zero, None)

    def inner(self, loss: Loss, parameters: Parameters, targets: Parameters) -> InnerGradient:
        """With exact products."""
        return inner_gradient(loss, parameters, targets)

    def product(self, loss: Loss, parameters: Parameters, targets: Parameters, vector: Parameters) -> Parameters:
        """Exact."""
        return implicit_product(loss, parameters, targets, vector)
