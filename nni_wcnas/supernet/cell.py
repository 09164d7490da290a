"""The relaxed cell: every edge a weighted sum of all candidate operations.

This is the narrow interface behind which cells are made fast: a cell is built from NNI's
:class:`~nni.nas.nn.pytorch.Cell`, owns one matrix of logits for all of its edges (shared by the cells of one type),
asks the relaxation for one matrix of mixing weights a forward pass, and is read off by the selection.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from nni.nas.nn.pytorch.cell import preprocess_cell_inputs
from nni.nas.oneshot.pytorch.supermodule.sampling import PathSamplingCell
from torch import Tensor, nn

from nni_wcnas.contracts import CellScores, Selection, Weighting
from nni_wcnas.functional.mixing import Mix, stacked_sum
from nni_wcnas.supernet.fast_edges import FastEdges
from nni_wcnas.supernet.plain_edges import PlainEdges
from nni_wcnas.supernet.recomputation import recomputed

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
        mix: Mix = mutate_kwargs.get('mix', stacked_sum)
        self._plain_edges = PlainEdges(self.ops, mix)
        self._fast_edges = FastEdges(self._plain_edges, num_predecessors)
        self.fast = False
        """Whether to compute the edges together, in the channels-last memory format."""
        self.recompute = False
        """Whether to keep only the inputs, and compute everything again in the backward pass."""
        self._arch_alpha = self._shared_logits(memo)
        self._pruned: set[tuple[int, int]] = memo.setdefault(f'{label}/pruned', set())

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

    def forward(self, *inputs: Any, again: bool = True) -> Any:
        """Mix every edge, sum the edges into each node, concatenate the nodes."""
        if self.recompute and again:
            return recomputed(self, *inputs, again=False)
        predecessors = preprocess_cell_inputs(self.num_predecessors, *inputs)
        edges = self._fast_edges if self.fast else self._plain_edges
        states = edges(self.preprocessor(predecessors), self._weights(), self._pruned)
        return self.postprocessor(torch.cat(states[self.num_predecessors :], self.concat_dim), predecessors)

    def prune(self, candidates: Iterable[tuple[int, int]]) -> None:
        """Take candidates out of all cells of this label: they are not computed, and never selected.

        Parameters
        ----------
        candidates
            Pairs of a row (edge) and a column (operation) of the matrix of logits. At least one column of each row
            stays.

        Raises
        ------
        ValueError
            If there is no such candidate, or none would stay on an edge.
        """
        pruned = self._pruned | set(candidates)
        edges = len(self._arch_alpha)
        strange = [pair for pair in pruned if not (0 <= pair[0] < edges and 0 <= pair[1] < len(self.op_names))]
        if strange:
            raise ValueError(f'there is no candidate {strange[0]}: a cell has {edges} edges of {len(self.op_names)}')
        for edge in range(edges):
            if sum(row == edge for row, _ in pruned) == len(self.op_names):
                raise ValueError(f'edge {edge} would lose its last candidate; keep one')
        self._pruned |= pruned

    def _logits(self) -> Tensor:
        """Logits, minus infinity for what was pruned: no weight, and no gradient."""
        if not self._pruned:
            return self._arch_alpha
        rows, columns = zip(*sorted(self._pruned))
        gone = torch.zeros_like(self._arch_alpha, dtype=torch.bool)
        gone[list(rows), list(columns)] = True
        return self._arch_alpha.masked_fill(gone, -torch.inf)

    def _weights(self) -> Tensor:
        """Mixing weights, shape ``(E, K)`` or, with a hidden 'none', ``(E, K + 1)``."""
        return self._weighting.weights(self._logits())

    def arch_parameters(self) -> list[nn.Parameter]:
        """The one matrix of logits."""
        return [self._arch_alpha]

    @torch.no_grad()
    def scores(self) -> CellScores:
        """What a selection needs to know of this cell."""
        return CellScores(
            self._logits().detach().cpu(),
            self._weights().cpu(),
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
