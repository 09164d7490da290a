"""PartialChannels: operations see a part of the channels, and each edge has a weight of its own.

Only the first 1/k of the channels go through the operations, which are as narrow; the others bypass them (a 2x2 max
pool halves them where the operations halve the size). Then channels are shuffled, so that other channels come first in
the next cell. As few channels choose operations noisily, the edges into a node compete in a softmax of parameters of
their own.

    node = sum over edges e into it of softmax(beta)_e shuffle([mixed_e(x[:C/k]), x[C/k:]])

Acts in every forward pass. About k times less memory and time in the operations, so the batch can be larger. A
selection sees the mixing weights times those of the edges.

``Search(transforms=(PartialChannels(),), arc_learning_rate=6e-4)`` with 15 epochs of warm-up is PC-DARTS's search on
CIFAR-10; ``PartialChannels(k=6, edge_normalization=False)`` is DrNAS's first stage.

No deviations; the shuffle is applied once to the sum, which is the same.

References
----------
Xu et al., "PC-DARTS: Partial Channel Connections for Memory-Efficient Architecture Search", ICLR 2020, sections 3.2 and
3.3.
"""

from __future__ import annotations

from dataclasses import dataclass

from nni_wcnas.contracts import Transform
from nni_wcnas.errors import InvalidArgument

__all__ = ['PartialChannels']


@dataclass(frozen=True)
class PartialChannels(Transform):
    """Operations see the first of ``k`` equal parts of the channels.

    Parameters
    ----------
    k
        Number of parts, at least 1 (all channels); divides the number of channels.
    edge_normalization
        Whether edges have weights of their own, a softmax over those into a node.
    """

    k: int = 4
    edge_normalization: bool = True

    def __post_init__(self) -> None:
        if self.k < 1:
            raise InvalidArgument('k', self.k, 'be at least 1 part of the channels, as 4')

    @property
    def share(self) -> int:  # type: ignore[override]  # the contract's default is a plain value
        """Into how many parts the channels are split: ``k``."""
        return self.k

    @property
    def normalises_edges(self) -> bool:  # type: ignore[override]
        """Whether edges have weights of their own."""
        # A few channels rank operations noisily; weights that are shared over a node's
        # edges steady the choice (section 3.3).
        return self.edge_normalization
