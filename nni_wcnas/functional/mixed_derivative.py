"""Second derivatives by the architecture and the weights, without those by the weights twice.

A product (d2 L / dA dW) . v is the gradient in A of the scalar (dL / dW) . v. Weights do not depend on A, so in the
backward pass of that scalar they are constants; but autograd tells a function of ours only that they are leaves that
require gradients, and it would compute d2 L / dW2 . v too, for nobody. Inside :func:`weights_held` such functions take
the weights that they keep for a second backward pass as constants, and that pass asks :func:`is_wanted` on its way
through the functions of the forward pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor

__all__ = ['held', 'is_wanted', 'weights_held']

_depth = 0  # Not thread-local: backward passes of a GPU run in a thread of their own.


@contextmanager
def weights_held() -> Iterator[None]:
    """Around the first backward pass, whose graph is to be differentiated by something else than the weights."""
    global _depth
    _depth += 1
    try:
        yield
    finally:
        _depth -= 1


def held(weight: Tensor) -> Tensor:
    """The weight as the second backward pass shall see it."""
    return weight.detach() if _depth else weight


def is_wanted(ctx: Any) -> bool:
    """Whether a function's backward pass shall compute the gradient by its weight, given its context.

    Not in the second pass over a graph whose first one was inside :func:`weights_held`.
    """
    was_held = getattr(ctx, 'was_held', False)
    ctx.was_held = was_held or _depth > 0
    return _depth > 0 or not was_held
