"""HardConcrete: two random operations on each edge, chosen by noisy gates; a regulariser that favours depth.

Each candidate draws a hard-concrete gate, some are knocked out at random, and the two with the largest gates are what
the edge computes. Gradients go straight through to the two gates. Parametric operations converge slower than skips, so
skips are charged more, and convolutions along the longest path of the cell are paid for.

    gate    = clamp(sigmoid((alpha + ln u - ln(1 - u)) / temperature) (high - low) + low, 0, 1),   u uniform
    weights = 1 for the two largest gates of an edge (ties at random; knocked out ones only for want of others), else 0
    p       = sigmoid(alpha - temperature ln(-low / high)), the probability that a gate is open
    penalty = 1/2 (skip_weight h(mean p of skips) + group_weight (h(mean p of pools) + h(mean p of the others))
                   - path_weight prod over edges between consecutive states of (mean p of convolutions)),
              h(x) = max(x - margin, 0), all means over chosen operations; 'none' is one of the others

The temperature falls linearly from the epoch in which the weights begin to the last one that searches with them, over
all stages that go on with them. Acts in every forward pass; new gates for each architecture step and each weight step,
one draw for all cells of a type; the penalty is of the same draw. Only what was chosen is computed, which makes a step
several times cheaper. A selection sees softmax(alpha).
``Search(relaxation=HardConcrete(), selection=TopPairs())`` is PR-DARTS's search. No smoothing, as rows
of weights sum to 2.

Deviations: the penalties of the types of cells are added, and each type weighs 1/2, where the published code takes the
hinge of a group's mean over both types: no less, and the same where both are on one side of the margin. The group of
pools and the margin are of the published code, not of the paper.

References
----------
Zhou, Xiong, Socher, Hoi, "Theory-Inspired Path-Regularized Differential Network Architecture Search", NeurIPS 2020,
sections 4.1 and 4.2; salesforce/PR-DARTS 732bf43, PRDARTS_search/search_model_prdarts_nasnet.py line 184.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from nni_wcnas.contracts import CellLayout, Moment, Weighting
from nni_wcnas.errors import InvalidArgument
from nni_wcnas.functional.hard_concrete import activation_probability, gates

__all__ = ['HardConcrete']


@dataclass(frozen=True)
class HardConcrete(Weighting):
    """Mixing weights are exactly 1 for the operations of each edge whose noisy gates are largest, and 0 for the others.

    Parameters
    ----------
    initial_temperature, final_temperature
        Temperature in the first and in the last epoch of the weights' search, over all stages that go on with them;
        positive.
    low, high
        Ends of the interval that gates are stretched to before they are clamped, below 0 and above 1.
    dropout
        Probability that an operation is knocked out of one draw.
    active
        Operations that an edge computes; fewer where pruning left fewer.
    skip_weight
        Charge of skips, lambda1 of the paper.
    group_weight
        Charge of pools, and of the operations that are neither, lambda2.
    path_weight
        Reward of convolutions along the longest path, lambda3.
    margin
        Mean probability that a group may have free of charge.

    Examples
    --------
    >>> HardConcrete().weights(torch.zeros(2, 4), Moment()).sum(-1)
    tensor([2., 2.])
    """

    initial_temperature: float = 10.0
    final_temperature: float = 0.1
    low: float = -0.1
    high: float = 1.1
    dropout: float = 0.4
    active: int = 2
    skip_weight: float = 0.01
    group_weight: float = 0.005
    path_weight: float = 0.005
    margin: float = 0.2

    is_stochastic = True
    on_simplex = False
    is_sparse = True
    needs_cells = True

    def __post_init__(self) -> None:
        for name in ('initial_temperature', 'final_temperature'):
            if not 0 < getattr(self, name) < math.inf:
                raise InvalidArgument(name, getattr(self, name), 'be positive and finite, as 10 or 0.1')
        if not -math.inf < self.low < 0:
            raise InvalidArgument('low', self.low, 'be below 0 and finite, as -0.1')
        if not 1 < self.high < math.inf:
            raise InvalidArgument('high', self.high, 'be above 1 and finite, as 1.1')
        if not 0 <= self.dropout < 1:
            raise InvalidArgument('dropout', self.dropout, 'be at least 0 and below 1')
        if self.active < 1:
            raise InvalidArgument('active', self.active, 'be at least 1 operation')
        for name in ('skip_weight', 'group_weight', 'path_weight', 'margin'):
            if not 0 <= getattr(self, name) < math.inf:
                raise InvalidArgument(name, getattr(self, name), 'be 0 or more and finite')

    @property
    def is_penalised(self) -> bool:  # type: ignore[override]  # the contract's default is a plain value
        """Whether anything is charged or paid for."""
        return max(self.skip_weight, self.group_weight, self.path_weight) > 0

    def temperature(self, moment: Moment) -> float:
        """Return the temperature of a moment: from the initial one in the first epoch to the final one in the last."""
        return (1 - moment.progress) * self.initial_temperature + moment.progress * self.final_temperature

    def weights(self, alpha: Tensor, moment: Moment) -> Tensor:
        """Return zeros and ones, shape ``(E, K)``, with the gradients of the chosen gates."""
        gate, chosen = self._draw(alpha, moment)
        # Straight through: the value of a chosen entry is exactly 1, which 1 - gate + gate is not in floating point.
        return chosen * (1 + (gate - gate.detach()))

    def strengths(self, alpha: Tensor, moment: Moment) -> Tensor:
        """Return softmax(alpha), shape ``(E, K)``, by which PR-DARTS derives its cells."""
        del moment  # Unused: nothing is drawn.
        return torch.softmax(alpha, dim=-1)

    def penalty(self, alpha: Tensor, layout: CellLayout, moment: Moment) -> Tensor:
        """Return the regulariser's half for one type of cell, of the gates that :meth:`weights` draws at this
        moment."""
        # The moment's seed makes this the draw of the forward pass, so that what was computed is what is charged.
        _, chosen = self._draw(alpha, moment)
        # P(gate > 0) of each candidate, shape (E, K).
        probability = activation_probability(alpha, self.temperature(moment), self.low, self.high)

        def charge(belongs: Callable[[str], bool]) -> Tensor:
            group = chosen * _columns(layout, alpha, belongs)
            return (_mean(probability, group, (0, 1)) - self.margin).relu()

        skips = charge(_is_skip)
        groups = charge(_is_pool) + charge(lambda name: not _is_skip(name) and not _is_pool(name))
        path = _path(probability, chosen * _columns(layout, alpha, lambda name: 'conv' in name), layout)
        # Each type of cell weighs one half, as in the published code, whose space has two of them.
        return 0.5 * (self.skip_weight * skips + self.group_weight * groups - self.path_weight * path)

    def _draw(self, alpha: Tensor, moment: Moment) -> tuple[Tensor, Tensor]:
        """Draw the gates; return them, and ones for those that were chosen, both of shape ``(E, K)``."""
        # Three draws of shape (E, K): the gates' randomness, who is knocked out, and the order among equals.
        uniform, knock, shuffle = torch.rand(
            (3, *alpha.shape), generator=moment.generator(alpha.device), dtype=alpha.dtype, device=alpha.device
        )
        gate = gates(alpha, uniform, self.temperature(moment), self.low, self.high)
        # A knocked-out operation ranks below every gate in [0, 1], and a pruned one below that:
        # either is taken only for want of others.
        rank = gate.detach().masked_fill(knock < self.dropout, -1.0).masked_fill(alpha == -torch.inf, -2.0)
        # Many gates are exactly 1. A random permutation before a stable sort lets chance decide among them; `best` are
        # places in the permutation, which `order` turns into columns.
        order = shuffle.argsort(-1)
        best = rank.gather(-1, order).sort(dim=-1, descending=True, stable=True).indices[:, : self.active]
        chosen = torch.zeros_like(gate).scatter(-1, order.gather(-1, best), 1.0)
        # A row with fewer candidates left than `active` would otherwise choose pruned ones.
        return gate, chosen.masked_fill(alpha == -torch.inf, 0.0)


def _is_skip(name: str) -> bool:
    """Whether an operation is a skip connection, by its name."""
    return 'skip' in name


def _is_pool(name: str) -> bool:
    """Whether an operation is a pooling, by its name."""
    return 'pool' in name


def _columns(layout: CellLayout, alpha: Tensor, belongs: Callable[[str], bool]) -> Tensor:
    """Return ones for the operations of a group, shape ``(K,)``, or ``(K + 1,)`` with a hidden 'none'."""
    hidden = ('none',) * (alpha.shape[1] - len(layout.operations))
    return alpha.new_tensor([belongs(name) for name in layout.operations + hidden])


def _mean(values: Tensor, which: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Return the mean over the entries that are one in ``which``, along some axes; zero where none is."""
    return (values * which).sum(axes) / which.sum(axes).clamp(min=1)


def _path(probability: Tensor, convolutions: Tensor, layout: CellLayout) -> Tensor:
    """Return the product, over the edges from each state to the next that chose a convolution, of their mean
    probability."""
    # The last edge into a node comes from the state just before it: these edges are the longest path through the cell.
    rows = [layout.edges_into(node)[-1] for node in range(layout.num_nodes)]
    edges = _mean(probability[rows], convolutions[rows], (1,))
    # Edges without a convolution count as 1, so that they are left out of the product; with none at all the path is 0.
    active = convolutions[rows].any(1)
    return torch.where(active, edges, torch.ones_like(edges)).prod() * active.any()
