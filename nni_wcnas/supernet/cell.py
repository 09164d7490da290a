"""The relaxed cell: every edge a weighted sum of all candidate operations.

This is the narrow interface behind which cells are made fast. A cell is built from NNI's
:class:`~nni.nas.nn.pytorch.Cell`. It owns one matrix of logits for all of its edges, shared by the cells of one type.
In each forward pass it asks the relaxation for one matrix of mixing weights, and in the end the selection reads it off.
"""

from __future__ import annotations

from typing import Any

import torch
from nni.nas.nn.pytorch.cell import preprocess_cell_inputs
from nni.nas.oneshot.pytorch.supermodule.sampling import PathSamplingCell
from torch import nn

from nni_wcnas.contracts import CellLayout
from nni_wcnas.supernet.recomputation import recomputed
from nni_wcnas.supernet.relaxed_edges import RelaxedEdges, candidate_factories

__all__ = ['RelaxedCell']


class RelaxedCell(RelaxedEdges, PathSamplingCell):
    """NNI's cell with all candidates on all edges.

    Without an explicit ``'none'`` among the candidates, each row of logits has a hidden extra entry in the last column
    whose operation is zero, as in NNI's own differentiable cell; cells of our spaces say that they have none
    (``mutate_kwargs['hidden_none']``). The constructor draws random numbers in the order of NNI's class, so one seed
    gives both the same supernet.

    Parameters
    ----------
    mutate_kwargs
        As in :meth:`RelaxedEdges.relax`.
    memo
        Shares the matrix of logits between cells of one label.

    The other parameters are those of NNI's ``PathSamplingCell``.
    """

    def __init__(
        self,
        op_factory: Any,
        num_nodes: int,
        num_ops_per_node: int,
        num_predecessors: int,
        preprocessor: Any,
        postprocessor: Any,
        concat_dim: int,
        memo: dict[str, Any],
        mutate_kwargs: dict[str, Any],
        label: str,
    ) -> None:
        super().__init__(
            # NNI's constructor builds all candidates on all edges, here at the width that partial channels leave them.
            candidate_factories(op_factory, mutate_kwargs.get('share', 1)),
            num_nodes,
            num_ops_per_node,
            num_predecessors,
            preprocessor,
            postprocessor,
            concat_dim,
            memo,
            mutate_kwargs,
            label,
        )
        layout = CellLayout(
            tuple(self.op_names),
            num_predecessors,
            num_nodes,
            num_ops_per_node,
            self.label,
            # Told by the name, as NNI's cells know nothing of reductions; its hub and our spaces say 'reduce'.
            is_reduction='reduc' in self.label,
        )
        hidden = 'none' not in self.op_names and mutate_kwargs.get('hidden_none', True)
        self.relax(layout, op_factory, memo, mutate_kwargs, has_hidden_none=hidden)

    @classmethod
    def mutate(cls, module: nn.Module, name: str, memo: dict[str, Any], mutate_kwargs: dict[str, Any]) -> Any:
        """Replace a cell of the space by a relaxed one, as NNI's mutation hook; leave any other module alone."""
        # Cells of our spaces say that they have no hidden 'none'; other cells say nothing and may have one.
        hidden = getattr(module, 'hidden_none', True)
        return super().mutate(module, name, memo, {**mutate_kwargs, 'hidden_none': hidden})

    def forward(self, *inputs: Any, again: bool = True) -> Any:
        """Mix every edge, sum the edges into each node, concatenate the nodes.

        Parameters
        ----------
        *inputs
            The outputs of the cells before, each of shape ``(N, C, H, W)``, or a list of them.
        again
            Whether the pass may be computed again in the backward pass, as ``recompute`` asks; False in there.

        Returns
        -------
        What the postprocessor of the cell makes of the output, of shape ``(N, num_nodes C, H', W')``, and the inputs.
        """
        if self.recompute and again:
            # The call comes back to this method with again=False, so that it computes in earnest.
            return recomputed(self, *inputs, within=self.mixer.as_now(), again=False)
        predecessors = preprocess_cell_inputs(self.num_predecessors, *inputs)
        states = self.states(self.preprocessor(predecessors))
        # All nodes are the output, also where a space merges only 'loose ends': NNI's supernet does the same.
        return self.postprocessor(torch.cat(states[self.num_predecessors :], self.concat_dim), predecessors)

    def export(self, memo: dict[str, Any]) -> dict[str, Any]:
        """Return the selected operations and inputs under NNI's labels; nothing where a cell of this label has."""
        # NNI hands on what was exported so far; cells of one label share one choice.
        if f'{self.label}/op_{self.num_predecessors}_0' in memo:
            return {}
        exported: dict[str, Any] = {}
        for node, choices in zip(self.output_node_indices, self.genotype()):
            for k, choice in enumerate(choices):
                exported[f'{self.label}/op_{node}_{k}'] = choice.operation
                # A list of one index, as NNI's choice of inputs allows several.
                exported[f'{self.label}/input_{node}_{k}'] = [choice.source]
        return exported
