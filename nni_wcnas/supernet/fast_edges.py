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
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nni_wcnas.functional.batch_norm import batch_norm
from nni_wcnas.functional.convolution import depthwise
from nni_wcnas.functional.pointwise_norm import BatchStatistics, normalised
from nni_wcnas.functional.side_by_side import repeated
from nni_wcnas.supernet.edge_context import EdgeContext
from nni_wcnas.supernet.plain_edges import PlainEdges
from nni_wcnas.supernet.recognition import Candidate, Identity, Nothing, Other, Pool, Separable, Stage, recognise
from nni_wcnas.supernet.running_averages import RunningAverages, uses_batch

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


class _Way(NamedTuple):
    """One operation from a state to a node, with its mixing weight of shape ``()``."""

    source: int
    node: int
    candidate: Candidate
    weight: Tensor


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
                _Way(source, edge.node, candidate, rows[edge.row][column])
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
    # An operation without a norm has no numbers, and so fits any.
    alike |= numbers if not alike else set()
    return candidate if numbers <= alike else Other(module)


def _norms(candidates: Sequence[Candidate]) -> Iterator[nn.BatchNorm2d]:
    """Yield the batch norms of these candidates, in order."""
    for candidate in candidates:
        if isinstance(candidate, Separable):
            yield from (stage.norm for stage in candidate.stages)
        elif isinstance(candidate, Pool) and candidate.norm is not None:
            yield candidate.norm


class _Term(NamedTuple):
    """An output that enters one or more nodes, each with a weight."""

    output: Tensor
    """Shape ``(N, C, H, W)``."""
    weights: dict[int, Tensor]
    """The weight, of shape ``()``, by node."""


def _leave(states: Mapping[int, Tensor], ways: Sequence[_Way], nodes: Sequence[_Node],
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
    found = _branches(states, ways, busy, averages)
    terms = _terms(states, ways, averages)
    if terms and _suits_products(terms[0].output):
        found = _add_products(found[0] if found else None, terms, busy), terms[0].output
        terms = []
    if found is not None:
        sums, like = found
        # (M, T * C) to T views (M, C).
        for node, total in zip(busy, sums.unflatten(1, (len(busy), -1)).unbind(1)):
            nodes[node].sums.append(_image(total, like))
    for output, weights in terms:
        for node, weight in weights.items():
            nodes[node].terms.append((output, weight))


def _terms(states: Mapping[int, Tensor], ways: Sequence[_Way], averages: RunningAverages) -> list[_Term]:
    """Return the outputs of all operations but separable convolutions and 'none', equal ones once."""
    pools = {source: _Pools(state) for source, state in states.items()}
    terms: dict[Hashable, _Term] = {}
    for position, (source, node, candidate, weight) in enumerate(ways):
        # Not the output's id: a compiler would compile anew for each batch.
        key: Hashable = position
        if isinstance(candidate, Identity):
            key, output = (source,), states[source]
        elif isinstance(candidate, Pool):
            shared, output = _shared_key(candidate), pools[source](candidate)
            # A norm with scale and shift, or with running statistics in evaluation mode, makes an output of its own.
            key = (source, shared) if shared else position
        elif isinstance(candidate, Other):
            output = candidate.module(states[source])
        else:
            continue
        weights = terms.setdefault(key, _Term(output, {})).weights
        # The weights of equal outputs into one node add up, so that the output enters it once.
        weights[node] = weights[node] + weight if node in weights else weight
    for pool in pools.values():
        pool.note(averages)
    return list(terms.values())


def _suits_products(term: Tensor) -> bool:
    """Return whether a product with a weighted unit matrix is cheaper than the passes over memory that it saves."""
    # The product costs C multiplications for each number, all but one of them by zero.
    return term.shape[1] <= 64 and _is_plain(term)


def _add_products(sums: Tensor | None, terms: Sequence[_Term], busy: Sequence[int]) -> Tensor:
    """Return the sums with the terms added to them, shape ``(M, T * C)``.

    Each term x, shape ``(M, C)``, is added to all of its nodes by one product, x [w_1 I, ..., w_T I].

    Parameters
    ----------
    sums
        Sums so far, shape ``(M, T * C)``, which are overwritten; None for zeros.
    terms
        Outputs with their weights.
    busy
        Numbers of the T nodes.
    """
    rows = [_rows(output) for output, _ in terms]
    channels, zero = rows[0].shape[1], rows[0].new_zeros(())
    # (terms * T,); a term enters with weight 0 the nodes that it does not enter.
    weights = torch.stack([weights.get(node, zero) for _, weights in terms for node in busy])
    unit = torch.eye(channels, dtype=zero.dtype).unsqueeze(1)
    matrices = (weights.view(-1, 1, len(busy), 1) * unit).flatten(2)  # (terms, C, T * C)
    total = zero.new_zeros(len(rows[0]), len(busy) * channels) if sums is None else sums
    for term, matrix in zip(rows, matrices.unbind()):
        total = total.addmm_(term, matrix)
    return total


def _shared_key(pool: Pool) -> Hashable:
    """Return a key that is equal for pools with one output; None where a pool has an output of its own."""
    if pool.norm is None:
        return pool.key, None
    return None if pool.norm.affine or not uses_batch(pool.norm) else (pool.key, pool.norm.eps)


class _Pools:
    """The pools of one state, shape ``(N, C, H, W)``, of which equal ones are computed once."""

    def __init__(self, state: Tensor) -> None:
        self.state = state
        self._pooled: dict[Hashable, Tensor] = {}
        # The output, its means and r = (variance + eps)^-1/2, and all norms that share them.
        self._normalised: dict[Hashable, tuple[Tensor, Tensor, Tensor, list[nn.BatchNorm2d]]] = {}

    def __call__(self, pool: Pool) -> Tensor:
        """Return the pool of the state, normalised if the pool has a norm, shape ``(N, C, H', W')``."""
        norm = pool.norm
        if pool.key not in self._pooled:
            self._pooled[pool.key] = pool.pool(self.state)
        pooled = self._pooled[pool.key]
        if norm is None:
            return pooled
        key = _shared_key(pool)
        # Called as a module, such a norm moves its running statistics itself.
        if key is None:
            return norm(pooled)
        if key not in self._normalised:
            # Statistics in half precision would be noise.
            if norm.running_mean is not None:
                pooled = pooled.to(norm.running_mean.dtype)
            self._normalised[key] = *batch_norm(pooled, None, None, norm.eps), []
        output, _, _, norms = self._normalised[key]
        norms.append(norm)
        return output

    def note(self, averages: RunningAverages) -> None:
        """Tell the running averages what the norms of these pools saw."""
        for output, mean, inverse, norms in self._normalised.values():
            # From r = (variance + eps)^-1/2. The norms share one output, and so its statistics.
            variance = inverse.square().reciprocal() - norms[0].eps
            averages.add(norms, mean.expand(len(norms), -1), variance.expand(len(norms), -1), output[:, 0].numel())


def _branches(states: Mapping[int, Tensor], ways: Sequence[_Way], busy: Sequence[int],
              averages: RunningAverages) -> tuple[Tensor, Tensor] | None:
    """Return the weighted sums of the separable convolutions into the nodes, or None if there are no such convolutions.

    Returns
    -------
    The sums into the T nodes of ``busy`` side by side, shape ``(M, T * C)``, and a map that has their N, H and W.
    """
    chunks = _chunks(states, ways)
    ended = _last_depthwise(chunks, _inputs(states, chunks), averages)
    if not ended:
        return None
    # One entry for each branch, in the order in which branches stand side by side.
    stages = [stage for chunk, _ in ended for stage in chunk.stages(chunk.length - 1)]
    entering = [way for chunk, _ in ended for way in chunk.ways]
    mixing, targets = torch.stack([way.weight for way in entering]), [busy.index(way.node) for way in entering]
    (sums,) = _project([x for _, x in ended], stages, averages, mixing, targets)
    # The product ends at the last node with such convolutions. Those after it get zeros; those before have them.
    missing = len(busy) - 1 - max(targets)
    if missing:
        sums = F.pad(sums, (0, missing * sums.shape[1] // (max(targets) + 1)))
    return sums, ended[0][1]


@dataclass
class _Chunk:
    """Separable convolutions of one kind, side by side: from the same sources to each of some consecutive nodes."""

    sources: tuple[int, ...]
    """Numbers of the states that they leave."""
    ways: list[_Way]
    """The convolutions, sorted by node, then by source."""

    @property
    def length(self) -> int:
        """Number of stages of each convolution."""
        return len(cast(Separable, self.ways[0].candidate).stages)

    @property
    def times(self) -> int:
        """Number of nodes, each of which needs all sources once."""
        return len(self.ways) // len(self.sources)

    def stages(self, number: int) -> list[Stage]:
        """Return stage ``number``, counted from 0, of each convolution."""
        return [cast(Separable, way.candidate).stages[number] for way in self.ways]

    def takes(self, sources: tuple[int, ...], node: int, limit: int) -> bool:
        """Return whether the convolutions from these sources into this node may join the chunk of at most ``limit``."""
        # The branches of one matrix must go into consecutive sums: see ``targets`` of pointwise_norm.normalised.
        follows = self.sources == sources and self.ways[-1].node == node - 1
        return follows and len(self.ways) + len(sources) <= limit


def _last_depthwise(chunks: Sequence[_Chunk], inputs: Sequence[Tensor],
                    averages: RunningAverages) -> list[tuple[_Chunk, Tensor]]:
    """Compute all separable convolutions up to and including the last depthwise one of each.

    Parameters
    ----------
    chunks
        The convolutions.
    inputs
        The rectified input of each chunk, shape ``(N, b * C, H, W)`` for its b branches.
    averages
        Collects what the norms between two stages see.

    Returns
    -------
    Each chunk with its features, shape ``(N, b * C, H', W')``; the chunks of fewest stages come first.
    """
    ended = []
    # Stage by stage, so that all chunks that go on share one call of ``normalised``.
    for number in count():
        features = [(chunk, _depthwise(x, chunk.stages(number))) for chunk, x in zip(chunks, inputs)]
        ended += [(chunk, x) for chunk, x in features if chunk.length == number + 1]
        going = [(chunk, x) for chunk, x in features if chunk.length > number + 1]
        if not going:
            break
        chunks = [chunk for chunk, _ in going]
        stages = [stage for chunk in chunks for stage in chunk.stages(number)]
        outputs = _project([x for _, x in going], stages, averages)
        # In place: no derivative needs what the product was before the ReLU.
        inputs = [_image(output.relu_(), x) for output, (_, x) in zip(outputs, going)]
    return ended


_CACHE = 2**20
"""Largest size in bytes of a tensor of branches side by side.

A larger one leaves the processor's cache, and oneDNN's fast kernels for the gradient of the weights.
"""


def _chunks(states: Mapping[int, Tensor], ways: Sequence[_Way]) -> list[_Chunk]:
    """Return the separable convolutions among the ways in chunks: of one kind each, into a few nodes, within the cache.

    A node with more branches of a kind than fit together gets a chunk for each of them.
    """
    kinds: dict[Hashable, dict[int, list[_Way]]] = {}
    for way in ways:
        if isinstance(way.candidate, Separable):
            kinds.setdefault(way.candidate.key, {}).setdefault(way.node, []).append(way)
    # All states here have one shape; the default is for no states at all.
    limit = min(map(_limit, states.values()), default=1)
    chunks: list[_Chunk] = []
    for by_node in kinds.values():
        # Chunks from here on are of this kind; a node may join none of an earlier one.
        first = len(chunks)
        for node, entering in sorted(by_node.items()):
            sources = tuple(way.source for way in entering)
            if len(sources) > limit:
                chunks += [_Chunk((way.source,), [way]) for way in entering]
            elif len(chunks) > first and chunks[-1].takes(sources, node, limit):
                chunks[-1].ways += entering
            else:
                chunks.append(_Chunk(sources, entering))
    return chunks


def _limit(state: Tensor) -> int:
    """Return how many branches of the size of this state to compute side by side; 1 but for plain CPU arithmetic."""
    return max(1, _CACHE // (state.numel() * state.element_size())) if _is_plain(state) else 1


def _is_plain(state: Tensor) -> bool:
    """Return whether a CPU computes in full precision, call by call: no autocast, and no compiler."""
    return state.device.type == 'cpu' and not torch.is_autocast_enabled('cpu') and not torch.compiler.is_compiling()


def _inputs(states: Mapping[int, Tensor], chunks: Sequence[_Chunk]) -> list[Tensor]:
    """Return what enters each chunk: its rectified sources side by side, once for each of its nodes.

    Shape ``(N, b * C, H, W)`` for the b branches of a chunk. Chunks with the same input share one tensor.
    """
    rectified: dict[tuple[int, ...], Tensor] = {}
    found: dict[tuple[tuple[int, ...], int], Tensor] = {}
    for sources, times in ((chunk.sources, chunk.times) for chunk in chunks):
        if sources not in rectified:
            parts = [states[source] for source in sources]
            # ReLU after the concatenation: one call instead of one for each state.
            rectified[sources] = F.relu(torch.cat(parts, 1) if len(parts) > 1 else parts[0])
        if (sources, times) not in found:
            x = rectified[sources]
            # Channels (s0, s1, s0, s1, ...): by node, then by source, as the ways of a chunk are sorted.
            found[sources, times] = _image(repeated(_rows(x), times), x) if times > 1 else x
    return [found[chunk.sources, chunk.times] for chunk in chunks]


def _depthwise(x: Tensor, stages: Sequence[Stage]) -> Tensor:
    """Return the depthwise convolutions of b branches side by side, shape ``(N, b * C, H', W')``."""
    # The branches are of one kind, so the geometry of the first is that of all.
    conv = stages[0].depthwise
    # (b * C, 1, k, k)
    weight = conv.weight if len(stages) == 1 else torch.cat([stage.depthwise.weight for stage in stages])
    return depthwise(x, weight, stride=conv.stride[0], padding=int(conv.padding[0]), dilation=conv.dilation[0])


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


def _project(features: Sequence[Tensor], stages: Sequence[Stage], averages: RunningAverages,
             mixing: Tensor | None = None, targets: Sequence[int] | None = None) -> list[Tensor]:
    """Return the pointwise convolutions and norms of all branches, or weighted sums of these.

    Parameters
    ----------
    features
        Outputs of depthwise convolutions, each of shape ``(N, b * C, H, W)`` for the b branches of a chunk.
    stages
        The stage of each of the B branches, in the order of the features.
    averages
        Collects what the norms see.
    mixing
        The mixing weight of each branch, shape ``(B,)``; None for no sums.
    targets
        The sum that each branch goes into; None for no sums.

    Returns
    -------
    For each of ``features`` a matrix of shape ``(M, b * C')``, or a single one, ``(M, T * C')``, of the sums.
    """
    norms = [stage.norm for stage in stages]
    channels = stages[0].pointwise.in_channels
    # The kernels (C', C, 1, 1) of B convolutions as matrices (B, C', C).
    weights = torch.cat([stage.pointwise.weight for stage in stages]).view(len(stages), -1, channels)
    gain, bias = _affine_parameters(stages)
    if mixing is not None:
        # w (g z + b) = (w g) z + w b: the mixing weight costs nothing but a smaller matrix.
        gain, bias = mixing.unsqueeze(1) * gain, mixing.unsqueeze(1) * bias
    # All norms are in one mode (see FastEdges.__call__), so the first tells.
    given = None
    if not uses_batch(norms[0]):
        given = BatchStatistics(*(torch.stack([getattr(norm, f'running_{name}') for norm in norms])
                                  for name in ('mean', 'var')))
    rows = [_rows(output) for output in features]
    outputs, statistics = normalised(rows, weights, gain, bias, norms[0].eps, targets=targets, statistics=given)
    if given is None:
        averages.add(norms, *statistics, len(rows[0]))
    return outputs


def _affine_parameters(stages: Sequence[Stage]) -> tuple[Tensor, Tensor]:
    """Return scale and shift of the norms of B stages, each of shape ``(B, C')``; ones and zeros without them."""
    like = stages[0].pointwise.weight
    if not any(stage.norm.affine for stage in stages):
        return like.new_ones(len(stages), len(like)), like.new_zeros(len(stages), len(like))
    plain = like.new_ones(len(like)), like.new_zeros(len(like))
    norms = [(stage.norm.weight, stage.norm.bias) if stage.norm.affine else plain for stage in stages]
    return torch.stack([scale for scale, _ in norms]), torch.stack([shift for _, shift in norms])


def _rows(image: Tensor) -> Tensor:
    """Return an image ``(N, C, H, W)`` as rows ``(N * H * W, C)``; a view in channels-last, otherwise a copy."""
    return image.permute(0, 2, 3, 1).flatten(0, 2)


def _image(rows: Tensor, like: Tensor) -> Tensor:
    """Return rows ``(N * H * W, C)`` as an image ``(N, C, H, W)``, with the N, H and W of ``like``.

    It is a view in channels-last order.
    """
    count, _, height, width = like.shape
    return rows.view(count, height, width, -1).permute(0, 3, 1, 2)
