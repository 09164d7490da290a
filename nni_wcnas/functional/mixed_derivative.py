"""Second derivatives by the architecture and the weights, without those by the weights twice.

A product (d2 L / dA dW) . v is the gradient in A of the scalar (dL / dW) . v. Weights do not depend on A, so in the
backward pass of that scalar they are constants. But autograd tells a function of ours only that they are leaves that
require gradients, and the function would compute d2 L / dW2 . v too, which nobody reads. Two things prevent it:

- inside :func:`weights_held`, the graph of the first backward pass holds the weights as constants (:func:`held`),
- the second backward pass also runs through the functions of the forward pass, and each of them asks
  :func:`is_wanted` before it computes the gradient of its weight.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor

__all__ = ['held', 'is_wanted', 'weights_held']

# Number of open weights_held contexts.
_depth = 0  # Not thread-local: backward passes of a GPU run in a thread of their own.


@contextmanager
def weights_held() -> Iterator[None]:
    """Hold the weights constant in the graph of a first backward pass that runs inside this context.

    Only for a graph that is then differentiated by something other than the weights. Contexts may be nested.
    """
    global _depth
    _depth += 1
    try:
        yield
    finally:
        _depth -= 1


def held(weight: Tensor) -> Tensor:
    """Return the weight as the second backward pass shall see it: a constant inside :func:`weights_held`."""
    return weight.detach() if _depth else weight


def is_wanted(ctx: Any) -> bool:
    """Return whether the backward pass of a function shall compute the gradient of its weight.

    The answer is no in a later pass over a graph whose first pass was inside :func:`weights_held`.

    Parameters
    ----------
    ctx
        Context of the ``torch.autograd.Function``, on which this remembers whether a pass was inside
        :func:`weights_held`. So the first pass must ask too.
    """
    # The context belongs to one call of the forward pass, and every backward pass over that call gets the same one.
    was_held = getattr(ctx, 'was_held', False)
    ctx.was_held = was_held or _depth > 0
    return _depth > 0 or not was_held
