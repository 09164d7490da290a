"""Change each row of a batch by one of several functions; each is called once, with all of its rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

__all__ = ['by_kind']


def by_kind(kinds: Sequence[int], change: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """Apply ``change(kind, *rows)`` to the rows of each kind.

    Parameters
    ----------
    kinds
        The kind of each of the N rows.
    change
        A function of a kind and of rows of all tensors, which returns as many rows.
    *tensors
        What the rows are taken from, shape ``(N, ...)`` each.

    Returns
    -------
    What ``change`` made of each row, in the order of the rows.

    Examples
    --------
    >>> by_kind([2, 3, 2], lambda kind, x: kind * x, torch.tensor([1.0, 10.0, 100.0]))
    tensor([  2.,  30., 200.])
    """
    rows: dict[int, list[int]] = {}
    for row, kind in enumerate(kinds):
        rows.setdefault(kind, []).append(row)
    # Rows are sorted by kind, changed group by group, and put back by the inverse permutation, order.argsort(): three
    # indexings, whatever the number of kinds.
    order = torch.tensor([row for group in rows.values() for row in group], device=tensors[0].device)
    parts = zip(*(tensor[order].split([len(group) for group in rows.values()]) for tensor in tensors))
    return torch.cat([change(kind, *part) for kind, part in zip(rows, parts)])[order.argsort()]
