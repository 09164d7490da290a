"""The choices that are relaxed in a supernet: its types of cells, and single layer and input choices."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from nni.nas.oneshot.pytorch.supermodule.differentiable import DifferentiableMixedInput, DifferentiableMixedLayer
from torch import Tensor, nn

from nni_wcnas.contracts import CellLayout
from nni_wcnas.supernet.mixer import Mixer, MixingWeights
from nni_wcnas.supernet.relaxed_edges import RelaxedEdges

__all__ = ['RelaxedChoice', 'cells_by_label', 'label_mixers', 'relaxed_cells', 'relaxed_choices']

_SINGLE = (DifferentiableMixedLayer, DifferentiableMixedInput)
"""NNI's classes for choices outside of cells, which have one vector of logits each."""


class RelaxedChoice(NamedTuple):
    """A matrix of logits, and the mixer that makes mixing weights of it."""

    mixer: Mixer
    logits: Callable[[], Tensor]
    """Returns the live logits, shape ``(E, K)``."""
    layout: CellLayout

    def weights(self) -> Tensor:
        """Return the mixing weights of this moment, shape ``(E, K)``."""
        return self.mixer.weights(self.logits())

    def penalty(self) -> Tensor:
        """Return what the relaxation charges for these logits beside the loss, a scalar."""
        mixer = self.mixer
        return mixer.weighting.penalty(mixer.masked(self.logits()), self.layout, mixer.moment)


def relaxed_cells(supernet: nn.Module) -> list[RelaxedEdges]:
    """Return all relaxed cells of a supernet, in the order of its modules."""
    return [module for module in supernet.modules() if isinstance(module, RelaxedEdges)]


def cells_by_label(supernet: nn.Module) -> dict[str, RelaxedEdges]:
    """Return the first relaxed cell of each type, by label; cells of one label share logits and mixer."""
    cells: dict[str, RelaxedEdges] = {}
    for cell in relaxed_cells(supernet):
        cells.setdefault(str(cell.label), cell)
    return cells


def relaxed_choices(supernet: nn.Module) -> dict[str, RelaxedChoice]:
    """Return the relaxed types of cells and single choices of a supernet, by label.

    Depth and value choices of NNI, whose logits have no one module, are not among them.
    """
    found: dict[str, RelaxedChoice] = {}
    for module in supernet.modules():
        if isinstance(module, RelaxedEdges):
            # Looked up at each call: within functional_call the parameter of the module is another tensor.
            logits = partial(getattr, module, 'logits')
            found.setdefault(str(module.label), RelaxedChoice(module.mixer, logits, module.layout))
        elif isinstance(module, _SINGLE) and isinstance(module._softmax, MixingWeights):
            found.setdefault(str(module.label), _single(module, module._softmax.mixer))
    return found


def label_mixers(supernet: nn.Module) -> None:
    """Give the mixer of each single choice the name of the choice, which NNI does not tell when it makes one."""
    for module in supernet.modules():
        weights = getattr(module, '_softmax', None)
        if isinstance(weights, MixingWeights):
            # The label gives the choice random numbers of its own; without it all choices would draw the same ones.
            weights.mixer.label = str(getattr(module, 'label', ''))


def _single(module: DifferentiableMixedLayer | DifferentiableMixedInput, mixer: Mixer) -> RelaxedChoice:
    """Return a choice outside of a cell, seen as a cell with one edge, shape ``(1, K)``."""
    # A layer choice has names, an input choice only as many logits as inputs.
    names = tuple(str(name) for name in getattr(module, 'names', range(len(module._arch_alpha))))
    layout = CellLayout(names, 1, 1, 1, module.label)
    return RelaxedChoice(mixer, lambda: module._arch_alpha.unsqueeze(0), layout)
