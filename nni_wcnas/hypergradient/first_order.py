"""FirstOrder: the architecture takes the weights as they are.

W' = W and dW'/dA = 0. One forward and backward through the supernet for each validation term, nothing else.
``Search()`` uses it. The tester's own chain (equations 15 and 16) still needs a product: it is taken by finite
differences.

References
----------
Liu, Simonyan, Yang, "DARTS: Differentiable Architecture Search", ICLR 2019, section 2.3, first-order approximation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from nni_wcnas.contracts import Hypergradient, Parameters, Step
from nni_wcnas.functional.hypergradient import implicit_product, leaves

__all__ = ['FirstOrder']


@dataclass(frozen=True)
class FirstOrder(Hypergradient):
    """Ignore how the weights depend on the architecture."""

    unrolls = False

    def ahead(self, step: Step, *, reuse: bool = False) -> tuple[Parameters, None]:
        """The weights as they are."""
        del reuse  # Unused: there is no pass to reuse.
        return leaves(step.learner.weights), None

    def indirect(self, step: Step, vector: Parameters) -> Parameters:
        """Zero."""
        del vector  # Unused: the weights do not depend on the architecture.
        return {name: torch.zeros_like(alpha) for name, alpha in step.learner.alphas.items()}

    def product(
        self, gradient: Callable[[Parameters, bool], Parameters], parameters: Parameters, vector: Parameters
    ) -> Parameters:
        """By finite differences."""
        return implicit_product(gradient, parameters, vector, 'finite_difference')
