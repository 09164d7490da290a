"""What all relaxed cells have in common: one matrix of logits for their edges, and a pass through all of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import torch
from nni.nas.oneshot.pytorch.supermodule.base import BaseSuperNetModule
from torch import Tensor, nn

from nni_wcnas.contracts import CellGenotype, CellLayout, CellScores, Moment, Selection, Transform
from nni_wcnas.functional.mixing import stacked_sum
from nni_wcnas.supernet.compilation import Compiled
from nni_wcnas.supernet.edge_context import EdgeContext
from nni_wcnas.supernet.fast_edges import FastEdges
from nni_wcnas.supernet.mixer import Mixer
from nni_wcnas.supernet.plain_edges import PlainEdges

__all__ = ['Factories', 'RelaxedEdges', 'candidate_factories']

Factories = dict[str, Any]
"""Factories by operation: each builds its module from ``(node_index, op_index, input_index)``."""


class RelaxedEdges(BaseSuperNetModule):
    """A cell whose E edges carry all K candidate operations.

    A subclass builds ``ops`` (for each node, for each of its sources, the candidates by name), then calls
    :meth:`relax`.
    """

    _arch_parameter_names = ['_arch_alpha', '_arch_beta']

    ops: nn.ModuleList
    label: str

    def relax(
        self, layout: CellLayout, factories: Factories, memo: dict[str, Any], mutate_kwargs: dict[str, Any],
        *, has_hidden_none: bool,
    ) -> None:
        """Make the matrix of logits, or take that of the cells of the same label.

        Parameters
        ----------
        layout
            The graph of the cell.
        factories
            Factories of the candidate operations at the full width.
        memo
            Shares parameters and the mixer between cells of one label.
        mutate_kwargs
            Must hold ``'weighting'``, ``'selection'`` and ``'clock'``; ``'mix'``, ``'transforms'`` and ``'share'`` are
            optional.
        has_hidden_none
            Whether each row of logits has an extra entry in the last column whose operation is zero.
        """
        self.layout = layout
        self._selection: Selection = mutate_kwargs['selection']
        self._transforms: Sequence[Transform] = mutate_kwargs.get('transforms', ())
        self._share: int = mutate_kwargs.get('share', 1)
        self.has_hidden_none = has_hidden_none
        # In place: the edges below look for their modules in ``ops`` when they are first used.
        self._wrap()
        self._plain_edges = PlainEdges(self.ops, mutate_kwargs.get('mix', stacked_sum))
        self._fast_edges = FastEdges(self._plain_edges, layout.num_predecessors)
        self.fast = False
        """Whether to compute the edges together, in the channels-last memory format."""
        self.recompute = False
        """Whether to keep only the inputs, and compute everything again in the backward pass."""
        self.compiled: Compiled | None = None
        """What compiles the edges; None computes them as they are."""
        self._arch_alpha = self._shared_logits(memo)
        # One mixer for all cells of a label: what is pruned or held in one of them is so in all.
        self.mixer: Mixer = memo.setdefault(
            f'{self.label}/mixer', Mixer(mutate_kwargs['weighting'], mutate_kwargs['clock'], self.label)
        )
        if any(transform.normalises_edges for transform in self._transforms):
            key = f'{self.label}/edges'
            # Edges begin as the candidates do, with 1e-3 N(0, 1) (PC-DARTS).
            self._arch_beta = memo.setdefault(key, nn.Parameter(torch.randn(len(layout.edges)) * 1e-3))
        self._build_extras(factories)

    def _wrap(self) -> None:
        """Let the transforms replace candidates; remember what they made."""
        self._wrapped: list[tuple[Transform, nn.Module]] = []
        for edge in (edge for node in self.ops for edge in node):  # type: ignore[attr-defined]
            for name, module in list(edge.items()):
                # In order: the last transform is the outermost.
                for transform in self._transforms:
                    wrapped = transform.wrap(name, module)
                    if wrapped is not module:
                        self._wrapped.append((transform, wrapped))
                    module = wrapped
                edge[name] = module

    def _shared_logits(self, memo: dict[str, Any]) -> nn.Parameter:
        """Return the matrix of logits of the cells of this label, drawn by the first of them."""
        key = f'{self.label}/logits'
        width = len(self.layout.operations) + self.has_hidden_none
        if key not in memo:
            memo[key] = nn.Parameter(
                # Row by row, as NNI draws the logits of its edges: another shape of draw would give other numbers from
                # the same seed.
                torch.stack([torch.randn(width) * 1e-3 for _ in self.layout.edges])
            )  # (E, K [+ 1])
        if memo[key].shape[1] != width:
            raise ValueError(
                f'cells labelled {self.label!r} share their architecture but one has {width} operations and '
                f'another {memo[key].shape[1]}; give them different labels'
            )
        return memo[key]

    def _build_extras(self, factories: Factories) -> None:
        """Build an operation beside the mixture, on each edge, if a transform has one."""
        self._with_extra = next((transform for transform in self._transforms if transform.extra is not None), None)
        if self._with_extra is not None:
            factory = _extra_factory(factories, str(self._with_extra.extra))
            self.extras = nn.ModuleList(factory(edge.target, 0, edge.source) for edge in self.layout.edges)

    # ------------------------------------------------------------------------------------------------------------
    # the forward pass

    def states(self, predecessors: Sequence[Tensor]) -> list[Tensor]:
        """Return all states of the cell, the given predecessors first.

        Parameters
        ----------
        predecessors
            The inputs of the cell after its preprocessor, each of shape ``(N, C, H, W)``.
        """
        weights = self.mixer.weights(self._arch_alpha)
        # An edge that a comparison leaves no candidate is silenced as a whole, with what bypasses its operations.
        gates = self._edge_gates(weights)
        silent = self.mixer.silent(len(self.layout.operations))
        if silent:
            gates = gates.index_fill(0, torch.tensor(silent, device=gates.device), 0.0)
        if self._normalises:
            # PC-DARTS: softmax(beta)_e times softmax(alpha_e), with one product for the whole edge. Without edge
            # normalisation the gates are 0 or 1, and the zeros are in the weights already.
            weights = weights * gates.unsqueeze(1)
        edges = self._fast_edges if self.fast else self._plain_edges
        absent = self.mixer.absent(len(self.layout.operations))
        if self.mixer.weighting.is_sparse:
            # Reading weights makes the processor wait for a GPU, which the operations that are left out are worth.
            absent |= self._weightless(weights.detach(), absent)
        if self.compiled is not None:
            return self.compiled(edges, predecessors, weights, absent, self._edge_context(gates))
        return edges(predecessors, weights, absent, self._edge_context(gates))

    def _weightless(self, weights: Tensor, absent: set[tuple[int, int]]) -> set[tuple[int, int]]:
        """Return the candidates whose weights are zero, but for one of each node that would be left with none.

        That one is computed with a weight of zero: the sum of a node needs a shape.
        """
        columns = len(self.layout.operations)
        zeros = {(row, column) for row, column in (weights[:, :columns] == 0).nonzero().tolist()}
        for node in range(self.layout.num_nodes):
            left = {(row, column) for row in self.layout.edges_into(node) for column in range(columns)} - absent
            # All weight of a node's edges may lie on a hidden 'none', whose column is not among these.
            if left <= zeros:
                zeros -= {min(left)}
        return zeros

    @property
    def logits(self) -> nn.Parameter:
        """The live matrix of logits, shape ``(E, K)``, or ``(E, K + 1)`` with a hidden 'none' in the last column."""
        return self._arch_alpha

    @property
    def _normalises(self) -> bool:
        """Whether edges have logits of their own, whose softmax over a node's edges weights them (PC-DARTS)."""
        return hasattr(self, '_arch_beta')

    def _edge_gates(self, like: Tensor) -> Tensor:
        """Return what multiplies each edge as a whole, shape ``(E,)``; 0 for an edge that was dropped."""
        present = like.new_ones(len(like))
        dropped = sorted(self.mixer.dropped)
        if not self._normalises:
            present[dropped] = 0.0
            return present
        # A copy, as the parameter is a leaf that cannot be written to in place; minus infinity takes no share of the
        # softmax.
        beta = self._arch_beta.clone()
        beta[dropped] = -torch.inf
        rows = [list(self.layout.edges_into(node)) for node in range(self.layout.num_nodes)]
        # One softmax for the edges that enter each node; their order is that of the rows.
        return torch.cat([beta[edges].softmax(0) for edges in rows])

    def _edge_context(self, gates: Tensor) -> EdgeContext:
        """Return what lies around the mixture at this moment: channels that bypass it, and extra operations."""
        bypassing = gates if self._share > 1 else None
        if self._with_extra is None:
            return EdgeContext(self._share, bypassing)
        weight = self._with_extra.extra_weight(self.mixer.moment)
        # An edge that was dropped or silenced loses its extra operation too.
        return EdgeContext(self._share, bypassing, list(self.extras), gates * weight)

    def update(self, moment: Moment) -> None:
        """Tell the modules that transforms have made which moment it is."""
        for transform, module in self._wrapped:
            transform.update(module, moment)

    # ------------------------------------------------------------------------------------------------------------
    # the architecture

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
        pruned = self.mixer.pruned | set(candidates)
        edges, columns = len(self._arch_alpha), len(self.layout.operations)
        strange = [pair for pair in pruned if not (0 <= pair[0] < edges and 0 <= pair[1] < columns)]
        if strange:
            raise ValueError(f'there is no candidate {strange[0]}: a cell has {edges} edges of {columns}')
        for edge in range(edges):
            if sum(row == edge for row, _ in pruned) == columns:
                raise ValueError(f'edge {edge} would lose its last candidate; keep one')
        self.mixer.pruned |= pruned

    def drop(self, edges: Iterable[int]) -> None:
        """Take whole edges out of all cells of this label.

        Raises
        ------
        ValueError
            If there is no such edge, or a node would lose its last one.
        """
        dropped = self.mixer.dropped | set(edges)
        strange = [edge for edge in dropped if not 0 <= edge < len(self.layout.edges)]
        if strange:
            raise ValueError(f'there is no edge {strange[0]}: a cell has {len(self.layout.edges)}')
        for node in range(self.layout.num_nodes):
            if set(self.layout.edges_into(node)) <= dropped:
                raise ValueError(f'node {node} would lose its last edge; keep one')
        self.mixer.dropped |= dropped

    def arch_parameters(self) -> list[nn.Parameter]:
        """Return the matrix of logits and, where edges are normalised, the logits of the edges."""
        return [self._arch_alpha, *([self._arch_beta] if self._normalises else [])]

    @torch.no_grad()
    def scores(self) -> CellScores:
        """Return what a selection needs to know of this cell: logits and strengths of its candidates."""
        logits, strengths = self.mixer.masked(self._arch_alpha), self.mixer.strengths(self._arch_alpha)
        gates = self._edge_gates(strengths)
        # log softmax(alpha) + log gate is the logarithm of their product, up to a constant of the row; a dropped edge
        # gets minus infinity.
        if self._normalises or self.mixer.dropped:
            logits, strengths = logits + gates.log().unsqueeze(1), strengths * gates.unsqueeze(1)
        return CellScores(logits.detach().cpu(), strengths.cpu(), self.layout)

    def genotype(self) -> CellGenotype:
        """Return the cell that the selection chooses now."""
        return self._selection.select(self.scores())

    def resample(self, memo: dict[str, Any]) -> dict[str, Any]:
        """Do nothing when NNI asks for a sample: the moment holds the random numbers."""
        del memo  # Unused.
        return {}

    def _edge_names(self) -> list[str]:
        """Return a name for each edge, ``'<label>/<target>_<source>'``, in the order of the rows."""
        return [f'{self.label}/{edge.target}_{edge.source}' for edge in self.layout.edges]

    def export_probs(self, memo: dict[str, Any]) -> dict[str, Any]:
        """Return what the relaxation says of each candidate, by edge and operation, a hidden 'none' included."""
        names = [*self.layout.operations, *(['none'] if self.has_hidden_none else [])]
        rows = self.scores().probabilities.tolist()
        return {edge: dict(zip(names, row)) for edge, row in zip(self._edge_names(), rows) if edge not in memo}


def candidate_factories(factories: Any, share: int) -> Any:
    """Return factories of the candidates for one of ``share`` equal parts of the channels.

    Raises
    ------
    ValueError
        If the factories do not say how many channels they make, or if the parts are not equal.
    """
    if share == 1:
        return factories
    if not isinstance(factories, dict):
        raise ValueError('PartialChannels needs candidate operations by name, and a cell of this space lists them')
    return {name: _narrowed(factory, share) for name, factory in factories.items()}


def _narrowed(factory: Any, share: int) -> Any:
    """Return a factory of the same operation with its channels divided by ``share``."""
    # A partial function shows its keywords; any other factory keeps its width to itself.
    channels = getattr(factory, 'keywords', {}).get('channels')
    if channels is None:
        raise ValueError(
            'PartialChannels needs candidate operations that are partial functions with a keyword `channels`, as those '
            "of our spaces and of NNI's hub are"
        )
    if not isinstance(channels, int):
        raise ValueError(
            'PartialChannels needs a width that is given, and that of this space is searched: give one number as width'
        )
    if channels % share or channels // share < 2:
        raise ValueError(
            f'PartialChannels(k={share}) cannot split {channels} channels into equal parts of at least 2; choose a '
            'multiple of k as width'
        )
    return partial(factory.func, *factory.args, **{**factory.keywords, 'channels': channels // share})


def _extra_factory(factories: Any, name: str) -> Any:
    """Return a factory of an operation that need not be among the candidates, made after the pattern of theirs."""
    if name in factories:
        return factories[name]
    any_factory = next(iter(factories.values())) if isinstance(factories, dict) else None
    # Our factories name their operation by 'name', those of NNI's hub by 'op'.
    key = next((key for key in ('name', 'op') if key in getattr(any_factory, 'keywords', {})), None)
    if any_factory is None or key is None:
        raise ValueError(f'{name} must be among the candidate operations of this space, which cannot build others')
    return partial(any_factory.func, *any_factory.args, **{**any_factory.keywords, key: name})
