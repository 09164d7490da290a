"""Products of small matrices by the parts of a large one, all in one call, as often differentiable.

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
    """D_b Q_b of shapes ``(M, B * C)`` and ``(B, C, C')``, side by side."""
    if len(q) == 1:
        return d @ q[0]
    if torch.compiler.is_compiling():
        return torch.bmm(_parts(d, len(q)), q).transpose(0, 1).flatten(1)
    return _Times.apply(d, q)


def outer(g: Tensor, d: Tensor, count: int) -> Tensor:
    """G_b^T D_b of the ``count`` parts of each, shape ``(B, C', C)``."""
    if count == 1:
        return (g.T @ d).unsqueeze(0)
    if torch.compiler.is_compiling() or not torch.is_grad_enabled():
        return torch.bmm(_parts(g, count).transpose(1, 2), _parts(d, count))
    return _Outer.apply(g, d, count)


def add_times(total: Tensor, d: Tensor, q: Tensor) -> None:
    """Add ``times(d, q)`` to the total in place."""
    if len(q) == 1:
        total.addmm_(d, q[0])
    elif torch.is_grad_enabled():
        total.add_(times(d, q))
    else:
        _parts(total, len(q)).baddbmm_(_parts(d, len(q)), q)


def repeated(d: Tensor, count: int) -> Tensor:
    """The same matrix so many times side by side."""
    # A product with ones and zeros: a copy of short rows takes three times as long, the sum of its gradient more.
    return d @ torch.eye(d.shape[1], dtype=d.dtype, device=d.device).repeat(1, count) if count > 1 else d


def _parts(d: Tensor, count: int) -> Tensor:
    """``(M, B * C)`` as a view of shape ``(B, M, C)``."""
    return d.unflatten(1, (count, -1)).transpose(0, 1)


class _Times(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, d: Tensor, q: Tensor) -> Tensor:
        ctx.save_for_backward(d, q)
        product = d.new_empty(len(d), len(q) * q.shape[2])
        torch.bmm(_parts(d, len(q)), q, out=_parts(product, len(q)))
        return product

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        d, q = ctx.saved_tensors
        (g,) = gradients
        to_d = times(g, q.transpose(1, 2)) if ctx.needs_input_grad[0] else None
        return to_d, outer(d, g, len(q)) if ctx.needs_input_grad[1] else None


class _Outer(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, g: Tensor, d: Tensor, count: int) -> Tensor:
        ctx.save_for_backward(g, d)
        return outer(g, d, count)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        g, d = ctx.saved_tensors
        (v,) = gradients  # (B, C', C)
        to_g = times(d, v.transpose(1, 2)) if ctx.needs_input_grad[0] else None
        return to_g, times(g, v) if ctx.needs_input_grad[1] else None, None
