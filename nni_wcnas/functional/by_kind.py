"""Changing each row of a batch by one of several functions, each of which is called once, with all of its rows."""

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
        One for each of the N rows.
    change
        From rows of the tensors to as many rows.
    *tensors
        Shape ``(N, ...)`` each.

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
    order = torch.tensor([row for group in rows.values() for row in group], device=tensors[0].device)
    parts = zip(*(tensor[order].split([len(group) for group in rows.values()]) for tensor in tensors))
    return torch.cat([change(kind, *part) for kind, part in zip(rows, parts)])[order.argsort()]
