"""The edges of a relaxed cell, several times cheaper: what the edges share is computed once, and sums are products.

From each state, or from the inputs of the cell together, once for all edges that leave::

    r = relu(x)                               for all separable convolutions
    p = pool(x), normalised                   for all edges with that pool
    D = depthwise(r)                          for each separable convolution of each edge
    D = depthwise(relu(normalised(D)))        the second half of a sep_conv; pointwise and norm are one product

The last pointwise convolution, batch norm, mixing weight and sum over the separable convolutions into each node are one
chain of accumulating products (``functional/pointwise_norm.py``); states, pools and other operations are added with
their weights. 'none' is not computed.

Where states are small, most of the time would be the calls. So convolutions of one kind stand side by side in the
channels of one tensor, as many as stay in the cache, and are one call; so are their products, and the sum of a state or
pool into all nodes.

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
from nni_wcnas.supernet.plain_edges import PlainEdges
from nni_wcnas.supernet.recognition import Candidate, Identity, Nothing, Other, Pool, Separable, Stage, recognise
from nni_wcnas.supernet.running_averages import RunningAverages, uses_batch
from nni_wcnas.supernet.surroundings import Surroundings

__all__ = ['FastEdges']


@dataclass
class _Node:
    """What a node adds up, with the mixing weights."""

    sums: list[Tensor] = field(default_factory=list)
    """Weighted already."""
    terms: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    zeros: list[tuple[nn.Module, Tensor]] = field(default_factory=list)
    """Called only where there is nothing else."""


class _Edge(NamedTuple):
    node: int
    row: int
    """Of the matrix of mixing weights."""
    candidates: list[Candidate]


class _Way(NamedTuple):
    """One operation from a state to a node."""

    source: int
    node: int
    candidate: Candidate
    weight: Tensor


class FastEdges:
    """Mix every edge, sum the edges into each node.

    Parameters
    ----------
    plain
        The same edges, computed one after the other: for supernets whose batch norms are not all in the same mode.
    num_predecessors
        Inputs of the cell.
    """

    def __init__(self, plain: PlainEdges, num_predecessors: int) -> None:
        self.plain, self.num_predecessors = plain, num_predecessors

    @cached_property
    def _leaving(self) -> list[list[_Edge]]:
        """The edges that leave each state; found at the first use, as NNI still replaces layers of a new cell."""
        leaving: list[list[_Edge]] = [[] for _ in range(self.num_predecessors + len(self.plain.ops))]
        alike: set[Hashable] = set()
        rows = count()
        for node, edges in enumerate(self.plain.candidates()):
            for source, modules in enumerate(edges):
                found = [_unless_odd(recognise(module), module, alike) for module in modules]
                leaving[source].append(_Edge(node, next(rows), found))
        return leaving

    @cached_property
    def _entering(self) -> list[range]:
        """The rows of the edges that enter each node."""
        counts = [len(node) for node in self.plain.candidates()]
        return [range(sum(counts[:node]), sum(counts[: node + 1])) for node in range(len(counts))]

    @cached_property
    def _momentum(self) -> float:
        """That of all the norms."""
        return next((norm.momentum for norm in self._norms if norm.momentum is not None), 0.0)

    @cached_property
    def _norms(self) -> list[nn.BatchNorm2d]:
        """The batch norms that are not called as modules."""
        return [norm for edges in self._leaving for edge in edges for norm in _norms(edge.candidates)]

    def prepare(self) -> None:
        """Find out now what the first use would."""
        _ = self._leaving, self._entering, self._momentum, self._norms
        candidates = [candidate for edges in self._leaving for edge in edges for candidate in edge.candidates]
        _ = [candidate.key for candidate in candidates if isinstance(candidate, (Pool, Separable))]

    def __call__(
        self,
        states: Sequence[Tensor],
        weights: Tensor,
        absent: Collection[tuple[int, int]] = (),
        surroundings: Surroundings | None = None,
    ) -> list[Tensor]:
        """As :meth:`PlainEdges.__call__`."""
        if len({uses_batch(norm) for norm in self._norms}) > 1:
            return self.plain(states, weights, absent, surroundings)
        around = surroundings or Surroundings()
        states = list(states)
        nodes = [_Node() for _ in self.plain.ops]
        rows = [row.unbind() for row in weights.unbind()]
        averages = RunningAverages(self._momentum)
        for sources in self._groups(states):
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
            inside = {source: around.inside(states[source]) for source in {way.source for way in ways}}
            _leave(inside, ways, nodes, averages)
        averages.update()
        return states

    def _groups(self, states: Sequence[Tensor]) -> list[range]:
        """The states that are known at the same time and of one shape."""
        first = range(self.num_predecessors)
        alike = len({(state.shape, state.dtype) for state in states}) == 1
        later = [range(source, source + 1) for source in range(first.stop, len(self._leaving))]
        return [*([first] if alike else [range(source, source + 1) for source in first]), *later]


def _unless_odd(candidate: Candidate, module: nn.Module, alike: set[Hashable]) -> Candidate:
    """Operations whose numbers differ from the first one's cannot be computed with it: call them."""
    numbers: set[Hashable] = {(norm.num_features, norm.eps, norm.momentum) for norm in _norms([candidate])}
    if isinstance(candidate, Separable):
        numbers |= {(s.pointwise.in_channels, s.norm.eps, s.norm.momentum) for s in candidate.stages}
    alike |= numbers if not alike else set()
    return candidate if numbers <= alike else Other(module)


def _norms(candidates: Sequence[Candidate]) -> Iterator[nn.BatchNorm2d]:
    """The batch norms of these candidates."""
    for candidate in candidates:
        if isinstance(candidate, Separable):
            yield from (stage.norm for stage in candidate.stages)
        elif isinstance(candidate, Pool) and candidate.norm is not None:
            yield candidate.norm


class _Term(NamedTuple):
    """What enters nodes as it is, weighted."""

    output: Tensor
    weights: dict[int, Tensor]
    """By node."""


def _leave(states: Mapping[int, Tensor], ways: Sequence[_Way], nodes: Sequence[_Node],
           averages: RunningAverages) -> None:
    """Let all operations leave the states."""
    for way in ways:
        if isinstance(way.candidate, Nothing):
            nodes[way.node].zeros.append((way.candidate.module, states[way.source]))
    busy = sorted({way.node for way in ways if not isinstance(way.candidate, Nothing)})
    found = _branches(states, ways, busy, averages)
    terms = _terms(states, ways, averages)
    if terms and _suits_products(terms[0].output):
        found = _add_products(found[0] if found else None, terms, busy), terms[0].output
        terms = []
    if found is not None:
        sums, like = found
        for node, total in zip(busy, sums.unflatten(1, (len(busy), -1)).unbind(1)):
            nodes[node].sums.append(_image(total, like))
    for output, weights in terms:
        for node, weight in weights.items():
            nodes[node].terms.append((output, weight))


def _terms(states: Mapping[int, Tensor], ways: Sequence[_Way], averages: RunningAverages) -> list[_Term]:
    """Everything but the separable convolutions."""
    pools = {source: _Pools(state) for source, state in states.items()}
    terms: dict[Hashable, _Term] = {}
    for position, (source, node, candidate, weight) in enumerate(ways):
        key: Hashable = position  # Not the output's id: a compiler would compile anew for each batch.
        if isinstance(candidate, Identity):
            key, output = (source,), states[source]
        elif isinstance(candidate, Pool):
            shared, output = _shared_key(candidate), pools[source](candidate)
            key = (source, shared) if shared else position
        elif isinstance(candidate, Other):
            output = candidate.module(states[source])
        else:
            continue
        weights = terms.setdefault(key, _Term(output, {})).weights
        weights[node] = weights[node] + weight if node in weights else weight
    for pool in pools.values():
        pool.note(averages)
    return list(terms.values())


def _suits_products(term: Tensor) -> bool:
    """Whether a product with a weighted unit matrix is cheaper than the passes over memory that it saves."""
    return term.shape[1] <= 64 and _is_plain(term)


def _add_products(sums: Tensor | None, terms: Sequence[_Term], busy: Sequence[int]) -> Tensor:
    """The sums, shape ``(M, T * C)``, and the terms, each added to all of its nodes by one product."""
    rows = [_rows(output) for output, _ in terms]
    channels, zero = rows[0].shape[1], rows[0].new_zeros(())
    weights = torch.stack([weights.get(node, zero) for _, weights in terms for node in busy])
    unit = torch.eye(channels, dtype=zero.dtype).unsqueeze(1)
    matrices = (weights.view(-1, 1, len(busy), 1) * unit).flatten(2)  # (terms, C, T * C)
    total = zero.new_zeros(len(rows[0]), len(busy) * channels) if sums is None else sums
    for term, matrix in zip(rows, matrices.unbind()):
        total = total.addmm_(term, matrix)
    return total


def _shared_key(pool: Pool) -> Hashable:
    """Equal for pools of one output; None where a pool has an output of its own."""
    if pool.norm is None:
        return pool.key, None
    return None if pool.norm.affine or not uses_batch(pool.norm) else (pool.key, pool.norm.eps)


class _Pools:
    """The pools of one state; equal ones are computed once."""

    def __init__(self, state: Tensor) -> None:
        self.state = state
        self._pooled: dict[Hashable, Tensor] = {}
        self._normalised: dict[Hashable, tuple[Tensor, Tensor, Tensor, list[nn.BatchNorm2d]]] = {}

    def __call__(self, pool: Pool) -> Tensor:
        """The pool of the state, normalised if it has a norm."""
        norm = pool.norm
        if pool.key not in self._pooled:
            self._pooled[pool.key] = pool.pool(self.state)
        pooled = self._pooled[pool.key]
        if norm is None:
            return pooled
        key = _shared_key(pool)
        if key is None:
            return norm(pooled)
        if key not in self._normalised:
            if norm.running_mean is not None:  # Statistics in half precision would be noise.
                pooled = pooled.to(norm.running_mean.dtype)
            self._normalised[key] = *batch_norm(pooled, None, None, norm.eps), []
        output, _, _, norms = self._normalised[key]
        norms.append(norm)
        return output

    def note(self, averages: RunningAverages) -> None:
        """Note what the norms saw."""
        for output, mean, inverse, norms in self._normalised.values():
            variance = inverse.square().reciprocal() - norms[0].eps
            averages.add(norms, mean.expand(len(norms), -1), variance.expand(len(norms), -1), output[:, 0].numel())


def _branches(states: Mapping[int, Tensor], ways: Sequence[_Way], busy: Sequence[int],
              averages: RunningAverages) -> tuple[Tensor, Tensor] | None:
    """The weighted sums of the separable convolutions into the nodes, shape ``(M, T * C)``; a map of their size."""
    chunks = _chunks(states, ways)
    ended = _last_depthwise(chunks, _inputs(states, chunks), averages)
    if not ended:
        return None
    stages = [stage for chunk, _ in ended for stage in chunk.stages(chunk.length - 1)]
    entering = [way for chunk, _ in ended for way in chunk.ways]
    mixing, targets = torch.stack([way.weight for way in entering]), [busy.index(way.node) for way in entering]
    (sums,) = _project([x for _, x in ended], stages, averages, mixing, targets)
    missing = len(busy) - 1 - max(targets)  # Nodes at the end without such convolutions.
    if missing:
        sums = F.pad(sums, (0, missing * sums.shape[1] // (max(targets) + 1)))
    return sums, ended[0][1]


@dataclass
class _Chunk:
    """Separable convolutions of one kind, side by side: from the same sources to each of some consecutive nodes."""

    sources: tuple[int, ...]
    ways: list[_Way]
    """By node, then by source."""

    @property
    def length(self) -> int:
        """Stages of each."""
        return len(cast(Separable, self.ways[0].candidate).stages)

    @property
    def times(self) -> int:
        """How often the sources are needed."""
        return len(self.ways) // len(self.sources)

    def stages(self, number: int) -> list[Stage]:
        """One of each."""
        return [cast(Separable, way.candidate).stages[number] for way in self.ways]

    def takes(self, sources: tuple[int, ...], node: int, limit: int) -> bool:
        """Whether those into this node can stand beside."""
        follows = self.sources == sources and self.ways[-1].node == node - 1
        return follows and len(self.ways) + len(sources) <= limit


def _last_depthwise(chunks: Sequence[_Chunk], inputs: Sequence[Tensor],
                    averages: RunningAverages) -> list[tuple[_Chunk, Tensor]]:
    """The separable convolutions, as far as the last depthwise one of each."""
    ended = []
    for number in count():
        features = [(chunk, _depthwise(x, chunk.stages(number))) for chunk, x in zip(chunks, inputs)]
        ended += [(chunk, x) for chunk, x in features if chunk.length == number + 1]
        going = [(chunk, x) for chunk, x in features if chunk.length > number + 1]
        if not going:
            break
        chunks = [chunk for chunk, _ in going]
        stages = [stage for chunk in chunks for stage in chunk.stages(number)]
        outputs = _project([x for _, x in going], stages, averages)
        inputs = [_image(output.relu_(), x) for output, (_, x) in zip(outputs, going)]
    return ended


_CACHE = 2**20
"""Bytes of what stands side by side, at most: more leaves the cache, and oneDNN's fast kernels for dw."""


def _chunks(states: Mapping[int, Tensor], ways: Sequence[_Way]) -> list[_Chunk]:
    """Separable convolutions by kind, in chunks of a few nodes."""
    kinds: dict[Hashable, dict[int, list[_Way]]] = {}
    for way in ways:
        if isinstance(way.candidate, Separable):
            kinds.setdefault(way.candidate.key, {}).setdefault(way.node, []).append(way)
    limit = min(map(_limit, states.values()), default=1)
    chunks: list[_Chunk] = []
    for by_node in kinds.values():
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
    """How many branches to compute side by side."""
    return max(1, _CACHE // (state.numel() * state.element_size())) if _is_plain(state) else 1


def _is_plain(state: Tensor) -> bool:
    """Whether a CPU computes in full precision, call by call."""
    return state.device.type == 'cpu' and not torch.is_autocast_enabled('cpu') and not torch.compiler.is_compiling()


def _inputs(states: Mapping[int, Tensor], chunks: Sequence[_Chunk]) -> list[Tensor]:
    """What enters each chunk: the rectified states, as often as there are nodes."""
    rectified: dict[tuple[int, ...], Tensor] = {}
    found: dict[tuple[tuple[int, ...], int], Tensor] = {}
    for sources, times in ((chunk.sources, chunk.times) for chunk in chunks):
        if sources not in rectified:
            parts = [states[source] for source in sources]
            rectified[sources] = F.relu(torch.cat(parts, 1) if len(parts) > 1 else parts[0])
        if (sources, times) not in found:
            x = rectified[sources]
            found[sources, times] = _image(repeated(_rows(x), times), x) if times > 1 else x
    return [found[chunk.sources, chunk.times] for chunk in chunks]


def _depthwise(x: Tensor, stages: Sequence[Stage]) -> Tensor:
    """The depthwise convolutions of branches that are side by side."""
    conv = stages[0].depthwise
    weight = conv.weight if len(stages) == 1 else torch.cat([stage.depthwise.weight for stage in stages])
    return depthwise(x, weight, stride=conv.stride[0], padding=int(conv.padding[0]), dilation=conv.dilation[0])


def _total(node: _Node) -> Tensor:
    """The sum that a node is, shape ``(N, C, H, W)``."""
    if not node.sums and not node.terms:
        module, state = node.zeros[0]
        return module(state)
    sums, terms = list(node.sums), list(node.terms)
    if not sums:
        output, weight = terms.pop(0)
        sums = [output * weight]
    total = sum(sums[1:], sums[0])
    for output, weight in terms:
        total = torch.addcmul(total, output.to(total.dtype), weight)
    return total.contiguous(memory_format=torch.channels_last)


def _project(features: Sequence[Tensor], stages: Sequence[Stage], averages: RunningAverages,
             mixing: Tensor | None = None, targets: Sequence[int] | None = None) -> list[Tensor]:
    """The pointwise convolutions and norms of the branches, or their weighted sums, side by side."""
    norms = [stage.norm for stage in stages]
    channels = stages[0].pointwise.in_channels
    weights = torch.cat([stage.pointwise.weight for stage in stages]).view(len(stages), -1, channels)
    gain, bias = _affine_parameters(stages)
    if mixing is not None:
        gain, bias = mixing.unsqueeze(1) * gain, mixing.unsqueeze(1) * bias
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
    """Scale and shift of the norms, shape ``(B, C)``."""
    like = stages[0].pointwise.weight
    if not any(stage.norm.affine for stage in stages):
        return like.new_ones(len(stages), len(like)), like.new_zeros(len(stages), len(like))
    plain = like.new_ones(len(like)), like.new_zeros(len(like))
    norms = [(stage.norm.weight, stage.norm.bias) if stage.norm.affine else plain for stage in stages]
    return torch.stack([scale for scale, _ in norms]), torch.stack([shift for _, shift in norms])


def _rows(image: Tensor) -> Tensor:
    """``(N, C, H, W)`` to ``(N * H * W, C)``; a view in channels-last."""
    return image.permute(0, 2, 3, 1).flatten(0, 2)


def _image(rows: Tensor, like: Tensor) -> Tensor:
    """``(N * H * W, C)`` to ``(N, C, H, W)`` with the N, H and W of ``like``, in channels-last."""
    count, _, height, width = like.shape
    return rows.view(count, height, width, -1).permute(0, 3, 1, 2)
