"""Widening: carry the weights of a supernet over to one whose operations see more channels.

A new channel of an operation copies one that is there. The copied channel is drawn once for each operation, and counts
for weights, running statistics and momentum alike, as input and as output. The halves of a factorised reduction are
widened each by itself. Nothing is rescaled, and new input channels are other channels than those whose weights they
copy, so the function changes: the result is a starting point, not an identity.

References
----------
Chen et al., "DrNAS: Dirichlet Neural Architecture Search", ICLR 2021, section 3.3 (progressive search); Chen,
Goodfellow, Shlens, "Net2Net", ICLR 2016, equation 3.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nni_wcnas.spaces.operations import FactorizedReduce

__all__ = ['Widening']


class Widening:
    """Copies tensors between supernets of different widths, from a name to the same name.

    Which channels are copied is drawn from torch's global random state when an operation is first met.
    """

    def __init__(self) -> None:
        self._channels: dict[tuple[str, int, int], Tensor] = {}

    def widened(self, name: str, old: Tensor, like: Tensor) -> Tensor:
        """Return a tensor widened to the shape of its counterpart.

        Parameters
        ----------
        name
            Name of the parameter or buffer, as ``'cells.0.ops.1.2.sep_conv_3x3.1.weight'``.
        old
            The tensor to widen.
        like
            Its counterpart of the same name, no dimension of which is smaller.
        """
        # Output channels, input channels and sides of kernels alike: only those that grow are indexed.
        for dimension, (size, wanted) in enumerate(zip(old.shape, like.shape)):
            if size != wanted:
                old = old.index_select(dimension, self._chosen(name, size, wanted).to(old.device))
        return old

    def _chosen(self, name: str, size: int, wanted: int) -> Tensor:
        """Return which of ``size`` channels each of ``wanted`` copies, shape ``(wanted,)``; drawn at the first call."""
        # One draw for an operation and a width, so that a convolution, the next one and the norms between them agree.
        key = _operation(name), size, wanted
        if key not in self._channels:
            # The old channels stay in their places, and copies follow.
            self._channels[key] = torch.cat((torch.arange(size), torch.randint(size, (wanted - size,))))
        return self._channels[key]

    @torch.no_grad()
    def transfer(self, old: nn.Module, new: nn.Module) -> None:
        """Copy all parameters and buffers of a supernet into a wider one."""
        for name, module in new.named_modules():
            # Before anything is copied: the norm must follow the draws of the two halves, not make one of its own.
            if isinstance(module, FactorizedReduce) and 'ops' in name.split('.'):
                self._choose_halves(name, old.get_submodule(name), module)
        target = new.state_dict()
        for name, value in old.state_dict().items():
            target[name].copy_(self.widened(name, value, target[name]))

    def _choose_halves(self, name: str, old: nn.Module, new: FactorizedReduce) -> None:
        """Draw the channels of a factorised reduction: its norm has those of both convolutions, side by side."""
        even, odd = (
            (getattr(old, half).out_channels, getattr(new, half).out_channels) for half in ('conv_even', 'conv_odd')
        )
        # even and odd are pairs of an old and a new width; the channels of the second half come behind those of the
        # first.
        if even[0] + odd[0] != even[1] + odd[1]:
            halves = self._chosen(name, *even), even[0] + self._chosen(name, *odd)
            self._channels[_operation(name), even[0] + odd[0], even[1] + odd[1]] = torch.cat(halves)


def _operation(name: str) -> str:
    """Return the name of the candidate operation that a module or a tensor belongs to."""
    parts = name.split('.')
    # 'ops', node, source, operation: what follows is inside the operation.
    return '.'.join(parts[: parts.index('ops') + 4]) if 'ops' in parts else name
