"""Outputs of pools, identities and other operations of a relaxed cell: equal ones are computed once, and enter nodes
with their weights."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from nni_wcnas.functional.batch_norm import batch_norm
from nni_wcnas.supernet.pixel_rows import is_plain, rows_of
from nni_wcnas.supernet.recognition import Identity, Other, Pool
from nni_wcnas.supernet.running_averages import RunningAverages, uses_batch
from nni_wcnas.supernet.way import Way

__all__ = ['Term', 'add_products', 'shared_terms', 'suits_products']


class Term(NamedTuple):
    """An output that enters one or more nodes, each with a weight."""

    output: Tensor
    """Shape ``(N, C, H, W)``."""
    weights: dict[int, Tensor]
    """The weight, of shape ``()``, by node."""


def shared_terms(states: Mapping[int, Tensor], ways: Sequence[Way], averages: RunningAverages) -> list[Term]:
    """Return the outputs of all operations but separable convolutions and 'none', equal ones once."""
    pools = {source: _Pools(state) for source, state in states.items()}
    terms: dict[Hashable, Term] = {}
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
        weights = terms.setdefault(key, Term(output, {})).weights
        # The weights of equal outputs into one node add up, so that the output enters it once.
        weights[node] = weights[node] + weight if node in weights else weight
    for pool in pools.values():
        pool.note(averages)
    return list(terms.values())


def suits_products(term: Tensor) -> bool:
    """Return whether a product with a weighted unit matrix is cheaper than the passes over memory that it saves."""
    # The product costs C multiplications for each number, all but one of them by zero.
    return term.shape[1] <= 64 and is_plain(term)


def add_products(sums: Tensor | None, terms: Sequence[Term], busy: Sequence[int]) -> Tensor:
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
    rows = [rows_of(output) for output, _ in terms]
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
