"""Products of small matrices by the parts of a large one, all in one call; derivatives of every order are such again.

B matrices D of shape ``(M, C)`` that stand side by side are one of shape ``(M, B * C)``. With Q of shape
``(B, C, C')`` and G of shape ``(M, B * C')``::

    times(D, Q)    D_b Q_b side by side, shape (M, B * C')
    outer(G, D)    G_b^T D_b, shape (B, C', C)

The form <G, D Q> is linear in each of its three arguments, so these two are each other's derivatives. They leave the
parts where they are; torch's own batched product would move them one behind the other, and in each derivative again.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ['add_times', 'outer', 'repeated', 'times']


def times(d: Tensor, q: Tensor) -> Tensor:
    """Return the products D_b Q_b side by side, shape ``(M, B * C')``.

    Parameters
    ----------
    d
        B matrices D_b side by side, shape ``(M, B * C)``.
    q
        Matrices Q_b, shape ``(B, C, C')``.
    """
    if len(q) == 1:
        return d @ q[0]
    if torch.compiler.is_compiling():
        # (B, M, C') to (M, B * C').
        return torch.bmm(_parts(d, len(q)), q).transpose(0, 1).flatten(1)
    return _Times.apply(d, q)


def outer(g: Tensor, d: Tensor, count: int) -> Tensor:
    """Return the products G_b^T D_b, shape ``(B, C', C)``.

    Parameters
    ----------
    g, d
        B matrices side by side each, shapes ``(M, B * C')`` and ``(M, B * C)``.
    count
        B.
    """
    if count == 1:
        return (g.T @ d).unsqueeze(0)
    # Also the way from _Outer.forward, in which gradients are off.
    if torch.compiler.is_compiling() or not torch.is_grad_enabled():
        return torch.bmm(_parts(g, count).transpose(1, 2), _parts(d, count))
    return _Outer.apply(g, d, count)


def add_times(total: Tensor, d: Tensor, q: Tensor) -> None:
    """Add ``times(d, q)`` to the total in place; shapes as in :func:`times`, and ``(M, B * C')`` of the total."""
    if len(q) == 1:
        total.addmm_(d, q[0])
    elif torch.is_grad_enabled():
        # torch's derivative of the product below would copy the parts one behind the other.
        total.add_(times(d, q))
    else:
        _parts(total, len(q)).baddbmm_(_parts(d, len(q)), q)


def repeated(d: Tensor, count: int) -> Tensor:
    """Return ``count`` copies of a matrix side by side, from shape ``(M, C)`` to ``(M, count * C)``."""
    # A product with ones and zeros: a copy of short rows takes three times as long, the sum of its gradient more.
    return d @ torch.eye(d.shape[1], dtype=d.dtype, device=d.device).repeat(1, count) if count > 1 else d


def _parts(d: Tensor, count: int) -> Tensor:
    """Return ``(M, B * C)`` as a view of shape ``(B, M, C)``; what is written to it is written to ``d``."""
    return d.unflatten(1, (count, -1)).transpose(0, 1)


class _Times(torch.autograd.Function):
    """:func:`times` with the two derivatives of the module's text."""

    @staticmethod
    def forward(ctx: Any, d: Tensor, q: Tensor) -> Tensor:
        ctx.save_for_backward(d, q)
        product = d.new_empty(len(d), len(q) * q.shape[2])
        # Through ``out`` the parts are written where they belong, without a copy of (B, M, C') afterwards.
        torch.bmm(_parts(d, len(q)), q, out=_parts(product, len(q)))
        return product

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        d, q = ctx.saved_tensors
        (g,) = gradients
        # dD_b = G_b Q_b^T and dQ_b = D_b^T G_b.
        to_d = times(g, q.transpose(1, 2)) if ctx.needs_input_grad[0] else None
        return to_d, outer(d, g, len(q)) if ctx.needs_input_grad[1] else None


class _Outer(torch.autograd.Function):
    """:func:`outer` with the two derivatives of the module's text."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, d: Tensor, count: int) -> Tensor:
        ctx.save_for_backward(g, d)
        return outer(g, d, count)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        g, d = ctx.saved_tensors
        (v,) = gradients  # (B, C', C)
        # dG_b = D_b V_b^T and dD_b = G_b V_b.
        to_g = times(d, v.transpose(1, 2)) if ctx.needs_input_grad[0] else None
        return to_g, times(g, v) if ctx.needs_input_grad[1] else None, None
