"""What is relaxed in a supernet: its types of cells, and single layer and input choices."""

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


class RelaxedChoice(NamedTuple):
    """A matrix of logits and what makes it mixing weights."""

    mixer: Mixer
    logits: Callable[[], Tensor]
    """The live parameter, shape ``(E, K)``."""
    layout: CellLayout

    def weights(self) -> Tensor:
        """Mixing weights of this moment."""
        return self.mixer.weights(self.logits())

    def penalty(self) -> Tensor:
        """What the relaxation charges."""
        mixer = self.mixer
        return mixer.weighting.penalty(mixer.masked(self.logits()), self.layout, mixer.moment)


def relaxed_cells(supernet: nn.Module) -> list[RelaxedEdges]:
    """All cells."""
    return [module for module in supernet.modules() if isinstance(module, RelaxedEdges)]


def cells_by_label(supernet: nn.Module) -> dict[str, RelaxedEdges]:
    """One cell of each type."""
    cells: dict[str, RelaxedEdges] = {}
    for cell in relaxed_cells(supernet):
        cells.setdefault(str(cell.label), cell)
    return cells


def relaxed_choices(supernet: nn.Module) -> dict[str, RelaxedChoice]:
    """Types of cells and single choices, by label.

    Depth and value choices of NNI, whose logits have no one module, are not among them.
    """
    found: dict[str, RelaxedChoice] = {}
    for module in supernet.modules():
        if isinstance(module, RelaxedEdges):
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
            weights.mixer.label = str(getattr(module, 'label', ''))


def _single(module: DifferentiableMixedLayer | DifferentiableMixedInput, mixer: Mixer) -> RelaxedChoice:
    """A choice without a cell, as one edge."""
    names = tuple(str(name) for name in getattr(module, 'names', range(len(module._arch_alpha))))
    layout = CellLayout(names, 1, 1, 1, module.label)
    return RelaxedChoice(mixer, lambda: module._arch_alpha.unsqueeze(0), layout)
