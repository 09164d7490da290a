"""The edges of a relaxed cell, several times cheaper: what the edges share is computed once, and sums are products.

For each state, or for the inputs of the cell together, this is computed once for all edges that leave it::

    r = relu(x)                               for all separable convolutions
    p = pool(x), normalised                   for all edges with that pool
    D = depthwise(r)                          for each separable convolution of each edge
    D = depthwise(relu(normalised(D)))        the second half of a sep_conv; pointwise and norm are one product

The last pointwise convolution, batch norm, mixing weight and sum over the separable convolutions into each node are one
chain of accumulating products (``functional/pointwise_norm.py``). States, pools and other operations are added with
their weights. 'none' is not computed.

Where states are small, most of the time would go into calls. So convolutions of one kind stand side by side in the
channels of one tensor, as many as stay in the cache, and are computed by one call. So are their products, and the sum
of a state or pool into all nodes.

Shapes below: M = N H W rows (pixels) of C channels, B branches (separable convolutions), T nodes that something enters.

The numbers are those of :class:`~nni_wcnas.supernet.plain_edges.PlainEdges` up to rounding, running statistics
included. Forward hooks on layers inside an operation are not called.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from typing import NamedTuple

import torch
from torch import Tensor, nn

from nni_wcnas.supernet.branches import branch_sums
from nni_wcnas.supernet.edge_context import EdgeContext
from nni_wcnas.supernet.pixel_rows import image_of
from nni_wcnas.supernet.plain_edges import PlainEdges
from nni_wcnas.supernet.recognition import Candidate, Nothing, Other, Pool, Separable, recognise
from nni_wcnas.supernet.running_averages import RunningAverages, uses_batch
from nni_wcnas.supernet.shared_terms import add_products, shared_terms, suits_products
from nni_wcnas.supernet.way import Way

__all__ = ['FastEdges']


@dataclass
class _Node:
    """What a node adds up, with the mixing weights."""

    sums: list[Tensor] = field(default_factory=list)
    """Sums of outputs that are multiplied by their weights already, each of shape ``(N, C, H, W)``."""
    terms: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    """Outputs of shape ``(N, C, H, W)``, each with a weight of shape ``()`` that is still to be applied."""
    zeros: list[tuple[nn.Module, Tensor]] = field(default_factory=list)
    """Operations 'none' with their states; the first is called where a node adds up nothing else."""


class _Edge(NamedTuple):
    """An edge, as the state that it leaves knows it."""

    node: int
    """Number of the node that the edge enters, from 0."""
    row: int
    """Row of the edge in the matrix of mixing weights."""
    candidates: list[Candidate]
    """The candidate operations in the order of the matrix's columns."""


class FastEdges:
    """The edges of a cell, computed together: mix the candidates of every edge, sum the edges into each node.

    Parameters
    ----------
    plain
        The same edges, computed one after the other. They say which operations there are, and step in where the batch
        norms of the cell are not all in the same mode.
    num_predecessors
        Number of inputs of the cell.
    """

    def __init__(self, plain: PlainEdges, num_predecessors: int) -> None:
        self.plain, self.num_predecessors = plain, num_predecessors

    @cached_property
    def _leaving(self) -> list[list[_Edge]]:
        """The edges that leave each state; found at the first use, as NNI still replaces layers of a new cell."""
        # States are numbered with the inputs of the cell first, then the nodes.
        leaving: list[list[_Edge]] = [[] for _ in range(self.num_predecessors + len(self.plain.ops))]
        alike: set[Hashable] = set()
        # Rows are numbered node by node, and in a node by source: the order of CellLayout.edges.
        rows = count()
        for node, edges in enumerate(self.plain.candidates()):
            for source, modules in enumerate(edges):
                found = [_unless_odd(recognise(module), module, alike) for module in modules]
                leaving[source].append(_Edge(node, next(rows), found))
        return leaving

    @cached_property
    def _entering(self) -> list[range]:
        """The rows of the edges that enter each node, in the matrix of mixing weights."""
        counts = [len(node) for node in self.plain.candidates()]
        return [range(sum(counts[:node]), sum(counts[: node + 1])) for node in range(len(counts))]

    @cached_property
    def _momentum(self) -> float:
        """The momentum of all norms in ``_norms``, which :func:`_unless_odd` makes sure is one; 0 if there are none."""
        return next((norm.momentum for norm in self._norms if norm.momentum is not None), 0.0)

    @cached_property
    def _norms(self) -> list[nn.BatchNorm2d]:
        """The batch norms of the operations that were recognised, most of which are never called as modules."""
        return [norm for edges in self._leaving for edge in edges for norm in _norms(edge.candidates)]

    def prepare(self) -> None:
        """Find out now what the first use would, so that a compiler does not have to trace it."""
        _ = self._leaving, self._entering, self._momentum, self._norms
        candidates = [candidate for edges in self._leaving for edge in edges for candidate in edge.candidates]
        _ = [candidate.key for candidate in candidates if isinstance(candidate, (Pool, Separable))]

    def __call__(
        self,
        states: Sequence[Tensor],
        weights: Tensor,
        absent: Collection[tuple[int, int]] = (),
        context: EdgeContext | None = None,
    ) -> list[Tensor]:
        """Return all states of the cell; arguments and results are those of ``PlainEdges.__call__``."""
        # One product serves many norms, by the statistics of the batch for all or by running ones for all.
        if len({uses_batch(norm) for norm in self._norms}) > 1:
            return self.plain(states, weights, absent, context)
        around = context or EdgeContext()
        states = list(states)
        nodes = [_Node() for _ in self.plain.ops]
        # Scalars by row and column: unbound once, the backward pass is one stack instead of a matrix of zeros for each.
        rows = [row.unbind() for row in weights.unbind()]
        averages = RunningAverages(self._momentum)
        for sources in self._groups(states):
            # The group is a node, and all edges that enter it have left earlier groups: its sum is complete.
            if sources.start >= self.num_predecessors:
                node = sources.start - self.num_predecessors
                states.append(around.outside(_total(nodes[node]), states, self._entering[node]))
            ways = [
                Way(source, edge.node, candidate, rows[edge.row][column])
                for source in sources
                for edge in self._leaving[source]
                for column, candidate in enumerate(edge.candidates)
                if (edge.row, column) not in absent
            ]
            # Operations may see a part of the channels only (partial channels), cut once for all edges of a state.
            inside = {source: around.inside(states[source]) for source in {way.source for way in ways}}
            _leave(inside, ways, nodes, averages)
        # After the last product: a pass that fails on the way, or whose compilation does, has moved none of these.
        averages.update()
        return states

    def _groups(self, states: Sequence[Tensor]) -> list[range]:
        """Return ranges of states that are known at the same time and have one shape, in order.

        These are the inputs of the cell together, if they are alike, and each node alone.
        """
        first = range(self.num_predecessors)
        alike = len({(state.shape, state.dtype) for state in states}) == 1
        later = [range(source, source + 1) for source in range(first.stop, len(self._leaving))]
        return [*([first] if alike else [range(source, source + 1) for source in first]), *later]


def _unless_odd(candidate: Candidate, module: nn.Module, alike: set[Hashable]) -> Candidate:
    """Return the candidate, or ``Other(module)`` where its numbers do not fit those of the cell's first one.

    The numbers are channels, epsilon and momentum; operations that are computed in one product must share them.
    ``alike`` holds those of the first operation that has any, and is filled here.
    """
    numbers: set[Hashable] = {(norm.num_features, norm.eps, norm.momentum) for norm in _norms([candidate])}
    if isinstance(candidate, Separable):
        # The width before the pointwise convolution counts too: weights are stacked as (B, C', C).
        numbers |= {(s.pointwise.in_channels, s.norm.eps, s.norm.momentum) for s in candidate.stages}
    # The first operation sets the standard only if its own stages agree: they share one product as well.
    if not alike and len(numbers) == 1:
        alike |= numbers
    # An operation without a norm has no numbers, and so fits any.
    return candidate if numbers <= alike else Other(module)


def _norms(candidates: Sequence[Candidate]) -> Iterator[nn.BatchNorm2d]:
    """Yield the batch norms of these candidates, in order."""
    for candidate in candidates:
        if isinstance(candidate, Separable):
            yield from (stage.norm for stage in candidate.stages)
        elif isinstance(candidate, Pool) and candidate.norm is not None:
            yield candidate.norm


def _leave(states: Mapping[int, Tensor], ways: Sequence[Way], nodes: Sequence[_Node],
           averages: RunningAverages) -> None:
    """Compute all operations that leave some states, and give each node what enters it.

    Parameters
    ----------
    states
        The states by number, all of one shape ``(N, C, H, W)``.
    ways
        The operations that leave them.
    nodes
        All nodes of the cell; those at which the ways end get their parts.
    averages
        Collects the statistics that the batch norms see.
    """
    for way in ways:
        if isinstance(way.candidate, Nothing):
            nodes[way.node].zeros.append((way.candidate.module, states[way.source]))
    # The T nodes that something enters, in order: node busy[t] is block t of the columns of the sums below.
    busy = sorted({way.node for way in ways if not isinstance(way.candidate, Nothing)})
    found = branch_sums(states, ways, busy, averages)
    terms = shared_terms(states, ways, averages)
    if terms and suits_products(terms[0].output):
        found = add_products(found[0] if found else None, terms, busy), terms[0].output
        terms = []
    if found is not None:
        sums, like = found
        # (M, T * C) to T views (M, C).
        for node, total in zip(busy, sums.unflatten(1, (len(busy), -1)).unbind(1)):
            nodes[node].sums.append(image_of(total, like))
    for output, weights in terms:
        for node, weight in weights.items():
            nodes[node].terms.append((output, weight))


def _total(node: _Node) -> Tensor:
    """Return the sum of everything that enters a node, shape ``(N, C, H, W)``."""
    if not node.sums and not node.terms:
        module, state = node.zeros[0]
        return module(state)
    sums, terms = list(node.sums), list(node.terms)
    if not sums:
        output, weight = terms.pop(0)
        sums = [output * weight]
    total = sum(sums[1:], sums[0])
    for output, weight in terms:
        # One pass over memory for a product and a sum. Under autocast an output may be in half precision.
        total = torch.addcmul(total, output.to(total.dtype), weight)
    return total.contiguous(memory_format=torch.channels_last)
