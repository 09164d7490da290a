"""NNI's layer choices and repeats, with nothing computed that has no weight.

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
    """A layer choice as the weighted sum of its candidate layers."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return the weighted sum of the candidates that have a weight; all get the same arguments."""
        if not self._softmax.mixer.weighting.is_sparse:
            return super().forward(*args, **kwargs)
        weights = self._softmax(self._arch_alpha)
        # Weights are exactly zero where a candidate was not drawn. Reading them makes the processor wait for a GPU.
        drawn = weights.detach().nonzero().flatten().tolist()
        outputs = [self[self.names[column]](*args, **kwargs) for column in drawn]
        # NNI's weighted sum, which also takes layers whose outputs are tuples or dictionaries.
        return self._reduction(outputs, weights[drawn])


class RelaxedRepeat(DifferentiableMixedRepeat):
    """A repeat as the weighted sum of the prefixes of its chain of blocks."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the weighted sum of the prefixes, going only as deep as the deepest one that has a weight."""
        if not self._softmax.mixer.weighting.is_sparse:
            return super().forward(x)
        by_label = {label: self._softmax(alpha) for label, alpha in self._arch_alpha.items()}
        # A depth may be an expression of several choices; its weight is then a product of theirs.
        by_depth = {depth: weight for depth, weight in traverse_all_options(self.depth_choice, weights=by_label)
                    if weight.item()}
        outputs = []
        for depth, block in enumerate(self.blocks[: max(by_depth)], start=1):
            x = block(x)
            if depth in by_depth:
                outputs.append(x)
        return self._reduction(outputs, list(by_depth.values()), list(by_depth))
