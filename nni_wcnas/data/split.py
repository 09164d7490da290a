"""Divide examples into halves by plain, deterministic rules on labels and positions."""

from __future__ import annotations

import torch
from torch import Tensor

from .error import DataArgumentError, DataError

__all__ = ['first_of_each_class', 'halves', 'interleave', 'rank_in_class']


def rank_in_class(labels: Tensor) -> Tensor:
    """Number the examples of each class in order: 0 for the first of its class, 1 for the second; shape ``(N,)``."""
    ranks = torch.empty_like(labels)
    for label in labels.unique():
        members = labels == label
        ranks[members] = torch.arange(int(members.sum()))
    return ranks


def interleave(labels: Tensor) -> Tensor:
    """Order examples so that every prefix holds the classes in their overall proportions.

    Files come sorted by class; without this the first half of them would hold the first half of the classes.

    Parameters
    ----------
    labels
        Classes, shape ``(N,)``.

    Returns
    -------
    Tensor
        A permutation of the positions, shape ``(N,)``; within a class the order is kept.
    """
    # (N,): the size of each example's class. The i-th of n examples of a class is at (i + 1/2) / n of its way, so
    # sorting by progress merges the classes evenly.
    counts = labels.bincount()[labels]
    progress = (rank_in_class(labels).double() + 0.5) / counts
    # Sorted by class first: of equal progress the lower class comes first, whatever the order of the files.
    by_class = labels.argsort(stable=True)
    return by_class[progress[by_class].argsort(stable=True)]


def halves(labels: Tensor, num_classes: int, split: float, limit: int | None = None) -> tuple[Tensor, Tensor]:
    """Divide the training set into the examples for the weights and those for the architecture.

    The unshuffled set is cut at ``floor(split * N)``, as in DARTS. With a ``limit``, each side keeps its share of it:
    the first examples of each class, as evenly as the classes allow. No example ever changes sides because of a limit.

    Parameters
    ----------
    labels
        Classes of the training examples, in their original order, shape ``(N,)``.
    num_classes
        Number of classes.
    split
        Share of the examples that the weights' side gets, in (0, 1).
    limit
        How many examples to keep in all; None keeps all N.

    Returns
    -------
    tuple of Tensor
        Positions of the weights' and of the architecture's examples, each ascending, int64.

    Raises
    ------
    DataError
        If ``split`` or ``limit`` is out of range, or a side would lack a class.
    """
    if not 0 < split < 1:
        raise DataArgumentError('split', split, 'use 0.5 for halves', reason='must lie strictly between 0 and 1')
    total = len(labels)
    if limit is not None and limit > total:
        raise DataArgumentError(
            'limit', limit, 'pass limit=None to use them all', reason=f'exceeds the {total} training examples'
        )
    # Cut before the limit is applied: an example is on the same side with any limit, so nothing that trains the weights
    # under one limit judges the architecture under another.
    cut = int(split * total)
    positions = torch.arange(total)
    sides = positions[:cut], positions[cut:]
    if limit is not None:
        share = int(split * limit)
        if min(share, limit - share) < num_classes:
            raise DataArgumentError(
                'limit', limit, 'pass a larger limit',
                reason=f'is too small: with split={split} one half would hold {min(share, limit - share)} examples of '
                       f'{num_classes} classes',
            )
        sides = _balanced(labels, sides[0], share), _balanced(labels, sides[1], limit - share)
    for purpose, side in zip(('weights', 'architecture'), sides, strict=True):
        missing = (labels[side].bincount(minlength=num_classes) == 0).nonzero().flatten().tolist()
        if missing:
            raise DataError(
                f'The {purpose} half holds no example of class {missing[0]}; add examples of it, '
                f'shuffle the data set or change split={split}.'
            )
    return sides


def _balanced(labels: Tensor, side: Tensor, count: int) -> Tensor:
    """Keep the ``count`` examples of a side that come first in their class; positions in ascending order."""
    ranks = rank_in_class(labels[side])
    # Sorted by rank in class, all firsts come before all seconds: each prefix is as balanced as the classes allow.
    return side[ranks.argsort(stable=True)[:count]].sort().values


def first_of_each_class(labels: Tensor, positions: Tensor, count: int) -> Tensor:
    """Choose the first examples of each class among some of a set.

    Parameters
    ----------
    labels
        Classes of the whole set, shape ``(N,)``.
    positions
        Positions to choose from, ascending.
    count
        How many of each class at most.

    Returns
    -------
    Tensor
        Chosen positions, ordered by class, ascending within one.
    """
    chosen = positions[rank_in_class(labels[positions]) < count]
    # The stable sort by label keeps the order within a class.
    return chosen[labels[chosen].argsort(stable=True)]
