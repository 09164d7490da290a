"""The relaxed cell: every edge a weighted sum of all candidate operations.

This is the narrow interface behind which cells are made fast: a cell is built from NNI's
:class:`~nni.nas.nn.pytorch.Cell`, owns one matrix of logits for all of its edges (shared by the cells of one type),
asks the relaxation for one matrix of mixing weights a forward pass, and is read off by the selection.
"""

from __future__ import annotations

from typing import Any

import torch
from nni.nas.nn.pytorch.cell import preprocess_cell_inputs
from nni.nas.oneshot.pytorch.supermodule.sampling import PathSamplingCell
from torch import Tensor, nn

from nni_wcnas.contracts import CellScores, Selection, Weighting
from nni_wcnas.functional.mixing import Mix, stacked_sum

__all__ = ['RelaxedCell', 'MixingWeights']


class MixingWeights(nn.Module):
    """A relaxation as the softmax module that NNI's layer, input and depth choices call on one vector of logits."""

    def __init__(self, weighting: Weighting) -> None:
        super().__init__()
        self.weighting = weighting

    def forward(self, alpha: Tensor) -> Tensor:
        """Mixing weights of one choice, shape ``(K,)``."""
        return self.weighting.weights(alpha.unsqueeze(0)).squeeze(0)


class RelaxedCell(PathSamplingCell):
    """A cell whose E edges carry all K candidate operations.

    Without an explicit ``'none'`` among the candidates, each row of logits has a hidden extra entry in the last column
    whose operation is zero, as in NNI's own differentiable cell. The constructor draws random numbers in the order of
    that class, so one seed gives both the same supernet.

    Parameters
    ----------
    mutate_kwargs
        Must hold ``'weighting'`` and ``'selection'``; ``'mix'`` (default
        :func:`~nni_wcnas.functional.mixing.stacked_sum`) adds up an edge.
    memo
        Shares the matrix of logits between cells of one label.

    The other parameters are those of NNI's ``PathSamplingCell``.
    """

    _arch_parameter_names = ['_arch_alpha']

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
            op_factory,
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
        self._weighting: Weighting = mutate_kwargs['weighting']
        self._selection: Selection = mutate_kwargs['selection']
        self._mix: Mix = mutate_kwargs.get('mix', stacked_sum)
        self._arch_alpha = self._shared_logits(memo)

    def _shared_logits(self, memo: dict[str, Any]) -> nn.Parameter:
        key = f'{self.label}/logits'
        width = len(self.op_names) + ('none' not in self.op_names)
        if key not in memo:
            memo[key] = nn.Parameter(
                torch.stack([torch.randn(width) * 1e-3 for _ in self._edge_names()])
            )  # (E, K [+ 1])
        if memo[key].shape[1] != width:
            raise ValueError(
                f'cells labelled {self.label!r} share their architecture but one has {width} operations and '
                f'another {memo[key].shape[1]}; give them different labels'
            )
        return memo[key]

    def _edge_names(self) -> list[str]:
        return [f'{self.label}/{node}_{source}' for node in self.output_node_indices for source in range(node)]

    def forward(self, *inputs: Any) -> Any:
        """Mix every edge, sum the edges into each node, concatenate the nodes."""
        predecessors = preprocess_cell_inputs(self.num_predecessors, *inputs)
        states: list[Tensor] = self.preprocessor(predecessors)
        rows = iter(self._weighting.weights(self._arch_alpha).unbind(0))
        for edges in self.ops:
            incoming = [
                self._mix([operation(state) for operation in candidates.values()], next(rows))
                for state, candidates in zip(list(states), edges)
            ]
            states.append(sum(incoming[1:], incoming[0]))
        return self.postprocessor(torch.cat(states[self.num_predecessors :], self.concat_dim), predecessors)

    def arch_parameters(self) -> list[nn.Parameter]:
        """The one matrix of logits."""
        return [self._arch_alpha]

    @torch.no_grad()
    def scores(self) -> CellScores:
        """What a selection needs to know of this cell."""
        return CellScores(
            self._arch_alpha.detach().cpu(),
            self._weighting.weights(self._arch_alpha).cpu(),
            tuple(self.op_names),
            self.num_predecessors,
            self.num_nodes,
            self.num_ops_per_node,
        )

    def resample(self, memo: dict[str, Any]) -> dict[str, Any]:
        """Nothing is sampled."""
        del memo  # Unused: the relaxation is deterministic.
        return {}

    def export(self, memo: dict[str, Any]) -> dict[str, Any]:
        """The selected operations and inputs under NNI's labels."""
        if f'{self.label}/op_{self.num_predecessors}_0' in memo:
            return {}
        exported: dict[str, Any] = {}
        for node, choices in zip(self.output_node_indices, self._selection.select(self.scores())):
            for k, choice in enumerate(choices):
                exported[f'{self.label}/op_{node}_{k}'] = choice.operation
                exported[f'{self.label}/input_{node}_{k}'] = [choice.source]
        return exported

    def export_probs(self, memo: dict[str, Any]) -> dict[str, Any]:
        """Mixing weights by edge and operation, a hidden 'none' included."""
        names = [*self.op_names, 'none'] if 'none' not in self.op_names else self.op_names
        rows = self.scores().probabilities.tolist()
        return {edge: dict(zip(names, row)) for edge, row in zip(self._edge_names(), rows) if edge not in memo}
