"""The relaxed dense cell: NAS-Bench-201's, every edge a weighted sum of all candidate operations."""

from __future__ import annotations

from typing import Any

from nni.mutable import Categorical, label_scope
from torch import Tensor, nn

from nni_wcnas.contracts import CellLayout
from nni_wcnas.spaces.nasbench201 import DenseCell
from nni_wcnas.supernet.recomputation import recomputed
from nni_wcnas.supernet.relaxed_edges import Factories, RelaxedEdges, candidate_factories

__all__ = ['RelaxedDenseCell']


class RelaxedDenseCell(RelaxedEdges):
    """A :class:`~nni_wcnas.spaces.nasbench201.DenseCell` with all candidates on all edges; each edge keeps one.

    Parameters
    ----------
    factories, num_nodes, label
        Those of the dense cell: its factories by operation, its number of states beside the input, and its label.
    memo
        Shares the matrix of logits between cells of one label.
    mutate_kwargs
        As in :meth:`RelaxedEdges.relax`.
    """

    def __init__(
        self, factories: Factories, num_nodes: int, label: str, memo: dict[str, Any], mutate_kwargs: dict[str, Any]
    ) -> None:
        super().__init__()
        self._label = label
        layout = CellLayout(
            tuple(factories),
            num_predecessors=1,
            num_nodes=num_nodes,
            num_ops_per_node=num_nodes,  # All that the last node has.
            label=label,
            keeps_all_edges=True,
        )
        # Target and source are numbers of states: 0 is the input, so that target 1 has one edge.
        narrow = candidate_factories(factories, mutate_kwargs.get('share', 1))
        self.ops = nn.ModuleList()
        for target in range(1, num_nodes + 1):
            edges = [{name: make(target, 0, source) for name, make in narrow.items()} for source in range(target)]
            self.ops.append(nn.ModuleList(nn.ModuleDict(edge) for edge in edges))
        with label_scope(label):
            for edge in layout.edges:
                # NNI collects the choices of a space from the mutables of its modules.
                self.add_mutable(Categorical(list(factories), label=f'{edge.target}_{edge.source}'))
        self.relax(layout, factories, memo, mutate_kwargs, has_hidden_none=False)

    @property
    def label(self) -> str:  # type: ignore[override]
        """Name that the cells of one type share, and with it their choices."""
        return self._label

    @classmethod
    def mutate(cls, module: nn.Module, name: str, memo: dict[str, Any], mutate_kwargs: dict[str, Any]) -> Any:
        """Replace a dense cell of the space by a relaxed one, as NNI's mutation hook; leave any other module alone."""
        del name  # Unused: the label says which cells are alike.
        # None tells NNI to try its next hook.
        if type(module) is DenseCell:
            return cls(module.factories, module.num_nodes, module.label, memo, mutate_kwargs)
        return None

    def forward(self, state: Tensor, again: bool = True) -> Tensor:
        """Mix every edge, sum the edges into each node, return the last node.

        Parameters
        ----------
        state
            Input of the cell, shape ``(N, C, H, W)``; the output has the same shape.
        again
            Whether the pass may be computed again in the backward pass, as ``recompute`` asks; False in there.
        """
        if self.recompute and again:
            return recomputed(self, state, within=self.mixer.as_now(), again=False)
        return self.states([state])[-1]

    def export(self, memo: dict[str, Any]) -> dict[str, Any]:
        """Return the selected operation of each edge under the labels of the dense cell, unless another cell has."""
        names = self._edge_names()
        # Cells of one label share their choices; the first one has exported them.
        if names[0] in memo:
            return {}
        return dict(zip(names, (choice.operation for choices in self.genotype() for choice in choices)))
