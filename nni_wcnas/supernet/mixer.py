"""From logits to mixing weights, for one type of cell or one layer choice of the supernet.

A :class:`Mixer` is shared by all cells of a label. It knows the moment, what was pruned, and the weights that stand in
for the relaxation's own while a smoothing perturbs them.
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
        """False while the supernet is looked at: single choices then tell what a selection sees."""

    @contextmanager
    def at_rest(self) -> Iterator[None]:
        """Let nothing be drawn."""
        self.draws = False
        try:
            yield
        finally:
            self.draws = True


class Mixer:
    """Mixing weights of one label.

    Parameters
    ----------
    weighting
        The relaxation.
    clock
        Tells the moment.
    label
        Of the choice: its random numbers are its own.
    """

    def __init__(self, weighting: Weighting, clock: Clock, label: str) -> None:
        self.weighting, self.clock, self.label = weighting, clock, label
        self.pruned: set[tuple[int, int]] = set()
        """Rows (edges) and columns (operations) that were taken out for good."""
        self.dropped: set[int] = set()
        """Rows that were taken out for good."""
        self._held: Tensor | None = None
        self._without: frozenset[tuple[int, int]] = frozenset()

    @property
    def moment(self) -> Moment:
        """Now, with the label's random numbers."""
        return self.clock.moment.of(self.label)

    def absent(self, columns: int) -> set[tuple[int, int]]:
        """Rows and columns whose operations need not be computed."""
        return self.pruned | self._without | {(row, column) for row in self.dropped for column in range(columns)}

    def silent(self, columns: int) -> list[int]:
        """Rows that :meth:`without` leaves no candidate: nothing else passes through these edges either."""
        absent = self.absent(columns) if self._without else set()
        rows = sorted({row for row, _ in self._without})
        return [row for row in rows if all((row, column) in absent for column in range(columns))]

    def weights(self, alpha: Tensor) -> Tensor:
        """Mixing weights of shape ``(E, K)`` for logits of that shape."""
        if self._held is not None:
            return self._held
        weights = self._cut(self.weighting.weights(self.masked(alpha), self.moment))
        return weights.masked_fill(_mask(weights, self._without), 0.0) if self._without else weights

    def strengths(self, alpha: Tensor) -> Tensor:
        """What a selection sees, shape ``(E, K)``."""
        return self._cut(self.weighting.strengths(self.masked(alpha), self.moment))

    def masked(self, alpha: Tensor) -> Tensor:
        """Logits, minus infinity for what was pruned: no weight, and no gradient."""
        return alpha.masked_fill(_mask(alpha, self.pruned), -torch.inf) if self.pruned else alpha

    def _cut(self, weights: Tensor) -> Tensor:
        """Zero in the rows that were dropped."""
        return weights.index_fill(0, self._rows(weights), 0.0) if self.dropped else weights

    def _rows(self, like: Tensor) -> Tensor:
        return torch.tensor(sorted(self.dropped), dtype=torch.long, device=like.device)

    def as_now(self) -> Callable[[], AbstractContextManager[None]]:
        """What brings back, later and for a while, the weights that are held now."""
        held = self._held
        return lambda: self.holding(held)

    @contextmanager
    def holding(self, weights: Tensor | None) -> Iterator[None]:
        """Use these weights, whatever the logits; None is the relaxation's own."""
        self._held, before = weights, self._held
        try:
            yield
        finally:
            self._held = before

    @contextmanager
    def without(self, candidates: Iterable[tuple[int, int]]) -> Iterator[None]:
        """Give some candidates no weight; the weights of the others stay as they are."""
        self._without, before = frozenset(candidates), self._without
        try:
            yield
        finally:
            self._without = before


def _mask(like: Tensor, candidates: Iterable[tuple[int, int]]) -> Tensor:
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
        """Mixing weights of one choice, shape ``(K,)``."""
        weights = self.mixer.weights if self.mixer.clock.draws else self.mixer.strengths
        return weights(alpha.unsqueeze(0)).squeeze(0)
