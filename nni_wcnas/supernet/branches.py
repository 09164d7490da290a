"""The separable convolutions of a relaxed cell, side by side, and their weighted sums into the nodes.

Convolutions of one kind stand side by side in the channels of one tensor, as many as stay in the cache, and are
computed by one call. So are their pointwise products (``functional/pointwise_norm.py``). Shapes below: M = N H W rows
(pixels) of C channels, B branches, T nodes that something enters.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F

from nni_wcnas.functional.convolution import depthwise
from nni_wcnas.functional.pointwise_norm import BatchStatistics, normalised
from nni_wcnas.functional.side_by_side import repeated
from nni_wcnas.supernet.pixel_rows import image_of, is_plain, rows_of
from nni_wcnas.supernet.recognition import Separable, Stage
from nni_wcnas.supernet.running_averages import RunningAverages, uses_batch
from nni_wcnas.supernet.way import Way

__all__ = ['branch_sums']


def branch_sums(states: Mapping[int, Tensor], ways: Sequence[Way], busy: Sequence[int],
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
    ways: list[Way]
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
        inputs = [image_of(output.relu_(), x) for output, (_, x) in zip(outputs, going)]
    return ended


_CACHE = 2**20
"""Largest size in bytes of a tensor of branches side by side.

A larger one leaves the processor's cache, and oneDNN's fast kernels for the gradient of the weights.
"""


def _chunks(states: Mapping[int, Tensor], ways: Sequence[Way]) -> list[_Chunk]:
    """Return the separable convolutions among the ways in chunks: of one kind each, into a few nodes, within the cache.

    A node with more branches of a kind than fit together gets a chunk for each of them.
    """
    kinds: dict[Hashable, dict[int, list[Way]]] = {}
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
    return max(1, _CACHE // (state.numel() * state.element_size())) if is_plain(state) else 1


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
            found[sources, times] = image_of(repeated(rows_of(x), times), x) if times > 1 else x
    return [found[chunk.sources, chunk.times] for chunk in chunks]


def _depthwise(x: Tensor, stages: Sequence[Stage]) -> Tensor:
    """Return the depthwise convolutions of b branches side by side, shape ``(N, b * C, H', W')``."""
    # The branches are of one kind, so the geometry of the first is that of all.
    conv = stages[0].depthwise
    # (b * C, 1, k, k)
    weight = conv.weight if len(stages) == 1 else torch.cat([stage.depthwise.weight for stage in stages])
    return depthwise(x, weight, stride=conv.stride[0], padding=int(conv.padding[0]), dilation=conv.dilation[0])


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
    rows = [rows_of(output) for output in features]
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
