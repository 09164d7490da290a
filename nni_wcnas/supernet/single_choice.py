"""NNI's layer choices and repeats, of which nothing is computed that has no weight.

With a relaxation that gives all candidates some weight these are NNI's own classes, bit for bit. With one that draws a
few (``is_sparse``), the other candidates of a layer choice are not called, nor the blocks behind the deepest prefix.
"""

from __future__ import annotations

from typing import Any

from nni.nas.oneshot.pytorch.supermodule._expression_utils import traverse_all_options
from nni.nas.oneshot.pytorch.supermodule.differentiable import DifferentiableMixedLayer, DifferentiableMixedRepeat
from torch import Tensor

__all__ = ['RelaxedLayer', 'RelaxedRepeat']


class RelaxedLayer(DifferentiableMixedLayer):
    """The weighted sum of several layers."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the candidates that have a weight, with the arguments of each."""
        if not self._softmax.mixer.weighting.is_sparse:
            return super().forward(*args, **kwargs)
        weights = self._softmax(self._arch_alpha)
        drawn = weights.detach().nonzero().flatten().tolist()
        outputs = [self[self.names[column]](*args, **kwargs) for column in drawn]
        return self._reduction(outputs, weights[drawn])


class RelaxedRepeat(DifferentiableMixedRepeat):
    """The weighted sum of the prefixes of a chain of blocks."""

    def forward(self, x: Tensor) -> Tensor:
        """Go as deep as the deepest prefix that has a weight."""
        if not self._softmax.mixer.weighting.is_sparse:
            return super().forward(x)
        by_label = {label: self._softmax(alpha) for label, alpha in self._arch_alpha.items()}
        by_depth = {depth: weight for depth, weight in traverse_all_options(self.depth_choice, weights=by_label)
                    if weight.item()}
        outputs = []
        for depth, block in enumerate(self.blocks[: max(by_depth)], start=1):
            x = block(x)
            if depth in by_depth:
                outputs.append(x)
        return self._reduction(outputs, list(by_depth.values()), list(by_depth))
