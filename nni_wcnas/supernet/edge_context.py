"""The context of the mixture of a cell's edges: channels that bypass it, and operations outside of it.

The mixture of all edges into a node is computed at once, whatever the transforms, as all of them are linear in it: an
edge's own weight multiplies its mixing weights, and channels are put side by side and shuffled after the sum.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nni_wcnas.functional.channels import shuffled

__all__ = ['EdgeContext']


class EdgeContext:
    """Let states into the mixture of the edges, and complete what comes out.

    Parameters
    ----------
    share
        Number of equal parts of the channels, of which operations see the first; 1 shows them all channels.
    bypassing
        Weight of each edge's other channels, shape ``(E,)``; None where no channels bypass the operations.
    extras
        An operation for each edge that is added outside of the mixture; none where there are no ``extra_weights``.
    extra_weights
        Weights of the extra operations, shape ``(E,)``.
    """

    def __init__(
        self,
        share: int = 1,
        bypassing: Tensor | None = None,
        extras: Sequence[nn.Module] = (),
        extra_weights: Tensor | None = None,
    ) -> None:
        self.share, self.extras = share, extras
        self.bypassing = None if bypassing is None else bypassing.unbind()
        self.extra_weights = None if extra_weights is None else extra_weights.unbind()

    def inside(self, state: Tensor) -> Tensor:
        """Return the channels of a state that operations see, shape ``(N, C / share, H, W)``."""
        if self.share == 1:
            return state
        part = state[:, : state.shape[1] // self.share]
        # A slice of channels is contiguous in no memory format; the copy is in that of the state.
        layout = torch.channels_last if state.is_contiguous(memory_format=torch.channels_last) else None
        return part.contiguous(memory_format=layout or torch.contiguous_format)

    def outside(self, total: Tensor, states: Sequence[Tensor], edges: range) -> Tensor:
        """Return the state of a node, shape ``(N, C, H', W')``.

        Parameters
        ----------
        total
            Sum of the mixed edges into the node, shape ``(N, C / share, H', W')``.
        states
            The earlier states with all of their channels, each of shape ``(N, C, H, W)``.
        edges
            Rows of the edges that enter the node, one for each of ``states``.
        """
        if self.share > 1 and self.bypassing is not None:
            # PC-DARTS shuffles each edge, concat(operations, bypass), before the sum; shuffling the sum once is the
            # same.
            others = [self._bypass(state, total) * self.bypassing[edge] for state, edge in zip(states, edges)]
            total = shuffled(torch.cat((total, sum(others[1:], others[0])), 1), self.share)
        if self.extra_weights is not None:
            for state, edge in zip(states, edges):
                total = total + self.extras[edge](state) * self.extra_weights[edge]
        return total

    def _bypass(self, state: Tensor, like: Tensor) -> Tensor:
        """Return the channels of a state that operations do not see, at the size of the sum."""
        rest = state[:, state.shape[1] // self.share :]
        # A reducing edge halves the size: a max pool does so for what bypasses it, rounding up as strided operations
        # do.
        return rest if rest.shape[2:] == like.shape[2:] else F.max_pool2d(rest, 2, ceil_mode=True)
