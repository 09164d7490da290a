"""From logits to mixing weights, for one type of cell or one layer choice of the supernet.

A :class:`Mixer` is shared by all cells of a label. It knows the moment of the search, the candidates that were pruned,
and the weights that stand in for the relaxation's own while a smoothing perturbs them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import Tensor, nn

from nni_wcnas.contracts import Moment, Weighting

__all__ = ['Clock', 'Mixer', 'MixingWeights']


class Clock:
    """The moment of the search, shared by all mixers of a supernet."""

    def __init__(self) -> None:
        self.moment = Moment()
        self.draws = True
        """Whether weights may be random; False while the supernet is read off, when single choices give strengths."""

    @contextmanager
    def at_rest(self) -> Iterator[None]:
        """Let single choices give what a selection sees, and draw nothing, inside the context."""
        self.draws = False
        try:
            yield
        finally:
            self.draws = True


class Mixer:
    """The way from the logits of one label to its mixing weights.

    Parameters
    ----------
    weighting
        The relaxation, which turns logits into weights.
    clock
        Tells the moment of the search.
    label
        Name of the type of cell or of the choice; each has random numbers of its own.
    """

    def __init__(self, weighting: Weighting, clock: Clock, label: str) -> None:
        self.weighting, self.clock, self.label = weighting, clock, label
        self.pruned: set[tuple[int, int]] = set()
        """Candidates that were taken out for good, as pairs of a row (edge) and a column (operation)."""
        self.dropped: set[int] = set()
        """Rows (edges) that were taken out for good."""
        self._held: Tensor | None = None
        self._without: frozenset[tuple[int, int]] = frozenset()

    @property
    def moment(self) -> Moment:
        """The moment that the clock shows, with the label's own random numbers."""
        # All passes of one moment draw the same numbers, whichever cell asks first; labels draw different ones.
        return self.clock.moment.of(self.label)

    def absent(self, columns: int) -> set[tuple[int, int]]:
        """Return the candidates (row, column) that need not be computed, of matrices with ``columns`` operations."""
        return self.pruned | self._without | {(row, column) for row in self.dropped for column in range(columns)}

    def silent(self, columns: int) -> list[int]:
        """Return the rows that :meth:`without` leaves no candidate: nothing else passes through these edges either."""
        # Pruned and dropped candidates count as well: a row is silent when nothing of it is left.
        absent = self.absent(columns) if self._without else set()
        rows = sorted({row for row, _ in self._without})
        return [row for row in rows if all((row, column) in absent for column in range(columns))]

    def weights(self, alpha: Tensor) -> Tensor:
        """Return the mixing weights of this moment, shape ``(E, K)``, for logits of that shape."""
        # Perturbed weights are used as they are: they stem from weights that were masked already. Else pruning acts on
        # the logits, so that the other weights of a row share the sum of 1.
        weights = self._held
        if weights is None:
            weights = self._cut(self.weighting.weights(self.masked(alpha), self.moment))
        # What is left out for a comparison loses its weight afterwards, without a new sum, as DARTS-PT measures it.
        return weights.masked_fill(_mask(weights, self._without), 0.0) if self._without else weights

    def strengths(self, alpha: Tensor) -> Tensor:
        """Return what a selection sees of the logits: weights without randomness, shape ``(E, K)``."""
        return self._cut(self.weighting.strengths(self.masked(alpha), self.moment))

    def masked(self, alpha: Tensor) -> Tensor:
        """Return the logits with minus infinity for pruned candidates, which gives them no weight and no gradient."""
        return alpha.masked_fill(_mask(alpha, self.pruned), -torch.inf) if self.pruned else alpha

    def _cut(self, weights: Tensor) -> Tensor:
        """Return the weights with zeros in the rows that were dropped."""
        return weights.index_fill(0, self._rows(weights), 0.0) if self.dropped else weights

    def _rows(self, like: Tensor) -> Tensor:
        """Return the numbers of the dropped rows, on the device of a tensor."""
        return torch.tensor(sorted(self.dropped), dtype=torch.long, device=like.device)

    def as_now(self) -> Callable[[], AbstractContextManager[None]]:
        """Return a function that makes contexts in which the weights that are held now are held again."""
        held = self._held
        return lambda: self.holding(held)

    @contextmanager
    def holding(self, weights: Tensor | None) -> Iterator[None]:
        """Use these weights of shape ``(E, K)`` inside the context, whatever the logits; None: the relaxation's own."""
        self._held, before = weights, self._held
        try:
            yield
        finally:
            self._held = before

    @contextmanager
    def without(self, candidates: Iterable[tuple[int, int]]) -> Iterator[None]:
        """Give some candidates (row, column) no weight inside the context; the other weights stay as they are."""
        self._without, before = frozenset(candidates), self._without
        try:
            yield
        finally:
            self._without = before


def _mask(like: Tensor, candidates: Iterable[tuple[int, int]]) -> Tensor:
    """Return a mask of the shape of a matrix that is true at these candidates, of which there is at least one."""
    # One indexed write for all candidates; sorted, so that the same set always makes the same index tensors.
    mask = torch.zeros_like(like, dtype=torch.bool)
    rows, columns = zip(*sorted(candidates))
    mask[list(rows), list(columns)] = True
    return mask


class MixingWeights(nn.Module):
    """A relaxation as the softmax module that NNI's layer, input and depth choices call on one vector of logits."""

    def __init__(self, weighting: Weighting, clock: Clock, label: str = '') -> None:
        super().__init__()
        self.mixer = Mixer(weighting, clock, label)

    def forward(self, alpha: Tensor) -> Tensor:
        """Return the mixing weights of one choice for logits of shape ``(K,)``, in the same shape."""
        # NNI's export_probs calls this module too: at rest it sees probabilities, not one random draw.
        weights = self.mixer.weights if self.mixer.clock.draws else self.mixer.strengths
        return weights(alpha.unsqueeze(0)).squeeze(0)  # A choice is a cell of one edge: (K,) as (1, K).
