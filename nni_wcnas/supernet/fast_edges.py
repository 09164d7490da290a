"""The edges of a relaxed cell, several times cheaper: what the edges share is computed once, and sums are products.

From each state, once for all edges that leave it::

    r = relu(x)                               for all separable convolutions
    p = pool(x), normalised                   for all edges with that pool
    D = depthwise(r)                          for each separable convolution of each edge
    D = depthwise(relu(normalised(D)))        the second half of a sep_conv; pointwise and norm are one product

Into each node, once for all edges that enter it: the last pointwise convolution, batch norm, mixing weight and sum of
all separable convolutions are one chain of accumulating products (``functional/pointwise_norm.py``); states, pools and
other operations are added with their weights. 'none' is not computed.

The numbers are those of :class:`~nni_wcnas.supernet.plain_edges.PlainEdges` up to rounding, running statistics
included. Forward hooks on layers inside an operation are not called.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nni_wcnas.functional.batch_norm import batch_norm
from nni_wcnas.functional.convolution import depthwise
from nni_wcnas.functional.pointwise_norm import BatchStatistics, normalised
from nni_wcnas.supernet.plain_edges import PlainEdges
from nni_wcnas.supernet.recognition import Candidate, Identity, Nothing, Other, Pool, Separable, Stage, recognise
from nni_wcnas.supernet.running_averages import RunningAverages, uses_batch
from nni_wcnas.supernet.surroundings import Surroundings

__all__ = ['FastEdges']


@dataclass
class _Node:
    """What a node adds up, with the mixing weights."""

    branches: list[tuple[Tensor, Stage, Tensor]] = field(default_factory=list)
    """Outputs of a last depthwise convolution, and the stage whose product is still to come."""
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

    node: _Node
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
        for source, leaving in enumerate(self._leaving):
            if source >= self.num_predecessors:
                total = _total(nodes[source - self.num_predecessors], averages)
                states.append(around.outside(total, states, self._entering[source - self.num_predecessors]))
            ways = [
                _Way(nodes[edge.node], candidate, rows[edge.row][column])
                for edge in leaving
                for column, candidate in enumerate(edge.candidates)
                if (edge.row, column) not in absent
            ]
            if ways:
                state = around.inside(states[source])
                _add_terms(state, ways, averages)
                _add_branches(state, ways, averages)
        averages.update()
        return states


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


def _add_terms(state: Tensor, ways: Sequence[_Way], averages: RunningAverages) -> None:
    """Let everything but the separable convolutions leave a state."""
    pools = _Pools(state, averages)
    for node, candidate, weight in ways:
        if isinstance(candidate, Identity):
            node.terms.append((state, weight))
        elif isinstance(candidate, Pool):
            node.terms.append((pools(candidate), weight))
        elif isinstance(candidate, Other):
            node.terms.append((candidate.module(state), weight))
        elif isinstance(candidate, Nothing):
            node.zeros.append((candidate.module, state))


class _Pools:
    """The pools of one state; equal ones are computed once."""

    def __init__(self, state: Tensor, averages: RunningAverages) -> None:
        self.state, self.averages = state, averages
        self._pooled: dict[Hashable, Tensor] = {}
        self._normalised: dict[Hashable, tuple[Tensor, Tensor, Tensor]] = {}

    def __call__(self, pool: Pool) -> Tensor:
        """The pool of the state, normalised if it has a norm."""
        norm = pool.norm
        if pool.key not in self._pooled:
            self._pooled[pool.key] = pool.pool(self.state)
        pooled = self._pooled[pool.key]
        if norm is None:
            return pooled
        if norm.affine or not uses_batch(norm):
            return norm(pooled)
        key = pool.key, norm.eps
        if key not in self._normalised:
            if norm.running_mean is not None:  # Statistics in half precision would be noise.
                pooled = pooled.to(norm.running_mean.dtype)
            self._normalised[key] = batch_norm(pooled, None, None, norm.eps)
        output, mean, inverse = self._normalised[key]
        variance = inverse.square().reciprocal() - norm.eps
        self.averages.add(norm, mean, variance, output.numel() // output.shape[1])
        return output


def _add_branches(state: Tensor, ways: Sequence[_Way], averages: RunningAverages) -> None:
    """Let the separable convolutions leave a state, as far as their last depthwise convolution."""
    going = [(node, candidate.stages, weight) for node, candidate, weight in ways if isinstance(candidate, Separable)]
    inputs = [F.relu(state)] * len(going) if going else []
    while going:
        features = [_depthwise(stages[0].depthwise, x) for x, (_, stages, _) in zip(inputs, going)]
        for output, (node, stages, weight) in zip(features, going):
            if len(stages) == 1:
                node.branches.append((output, stages[0], weight))
        longer = [position for position, (_, stages, _) in enumerate(going) if len(stages) > 1]
        if longer:
            inputs = _between([features[i] for i in longer], [going[i][1][0] for i in longer], averages)
        going = [(going[i][0], going[i][1][1:], going[i][2]) for i in longer]


def _depthwise(conv: nn.Conv2d, x: Tensor) -> Tensor:
    return depthwise(x, conv.weight, stride=conv.stride[0], padding=int(conv.padding[0]), dilation=conv.dilation[0])


def _between(features: Sequence[Tensor], stages: Sequence[Stage], averages: RunningAverages) -> list[Tensor]:
    """Pointwise convolution, norm and ReLU of each branch, shape ``(N, C, H, W)``."""
    gain, bias = _affine_parameters(stages)
    outputs = _project(features, stages, gain, bias, averages, total=False)
    return [_image(output.relu_(), features[0]) for output in outputs]


def _total(node: _Node, averages: RunningAverages) -> Tensor:
    """The sum that a node is, shape ``(N, C, H, W)``."""
    if not node.branches and not node.terms:
        module, state = node.zeros[0]
        return module(state)
    like = (node.branches or node.terms)[0][0]
    terms = [(_rows(output), weight) for output, weight in node.terms]
    if node.branches:
        features, stages, weights = zip(*node.branches)
        gain, bias = _affine_parameters(stages)
        mixing = torch.stack(weights).unsqueeze(1)  # (B, 1)
        (total,) = _project(features, stages, mixing * gain, mixing * bias, averages, total=True)
    else:
        output, weight = terms.pop(0)
        total = output * weight
    for output, weight in terms:
        total = total.addcmul_(output.to(total.dtype), weight)
    return _image(total, like)


def _project(features: Sequence[Tensor], stages: Sequence[Stage], gain: Tensor, bias: Tensor,
             averages: RunningAverages, *, total: bool) -> list[Tensor]:
    """The pointwise convolutions and norms of the branches, rows of shape ``(N * H * W, C)``."""
    norms = [stage.norm for stage in stages]
    weights = torch.stack([stage.pointwise.weight.flatten(1) for stage in stages])
    given = None
    if not uses_batch(norms[0]):
        given = BatchStatistics(*(torch.stack([getattr(norm, f'running_{name}') for norm in norms])
                                  for name in ('mean', 'var')))
    rows = [_rows(output) for output in features]
    outputs, statistics = normalised(rows, weights, gain, bias, norms[0].eps, total=total, statistics=given)
    if given is None:
        for norm, mean, variance in zip(norms, *statistics):
            averages.add(norm, mean, variance, len(rows[0]))
    return outputs


def _affine_parameters(stages: Sequence[Stage]) -> tuple[Tensor, Tensor]:
    """Scale and shift of the norms, shape ``(B, C)``."""
    like = stages[0].pointwise.weight
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
