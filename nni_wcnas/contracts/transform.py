"""What is done to the edges of a cell beside mixing their candidates."""

from __future__ import annotations

from torch import nn

from nni_wcnas.contracts.moment import Moment

__all__ = ['Transform']


class Transform:
    """What is done to the edges of a cell beside mixing their candidates. Transforms stack.

    A transform describes and wraps; the cells of ``nni_wcnas.supernet`` do what ``share``, ``normalises_edges`` and
    ``extra`` say.
    """

    share: int = 1
    """Into how many equal parts channels are split: operations see the first part, the others bypass them."""
    normalises_edges: bool = False
    """Whether each edge has an architecture parameter of its own, whose softmax over a node's edges weights them."""
    extra: str | None = None
    """Name of an operation that is added to every edge, outside the mixture."""
    is_random: bool = False
    """Whether passes draw random numbers from torch's global state."""

    def extra_weight(self, moment: Moment) -> float:
        """Return the weight of the extra operation at a moment."""
        del moment  # Unused: there is none.
        return 0.0

    def wrap(self, operation: str, module: nn.Module) -> nn.Module:
        """Return what takes the place of a candidate operation of an edge; by default the operation itself."""
        del operation  # Unused: operations stay as they are.
        return module

    def update(self, module: nn.Module, moment: Moment) -> None:
        """Tell a module that :meth:`wrap` has made which moment it is; called before each epoch."""
        del module, moment  # Unused: nothing changes with time.
