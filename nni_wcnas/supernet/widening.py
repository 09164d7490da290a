"""Widening: carry the weights of a supernet over to one whose operations see more channels.

A new channel of an operation copies one that is there, chosen at random once for each operation, in weights, running
statistics and momentum alike, as input and as output; the halves of a factorised reduction are widened each for itself.
Nothing is rescaled, and the new input channels are other
channels than those whose weights they copy, so the function changes: a starting point, not an identity.

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
    """Copies tensors of one name between supernets of different widths.

    Which channels are copied is drawn from torch's global random state when an operation is first met.
    """

    def __init__(self) -> None:
        self._channels: dict[tuple[str, int, int], Tensor] = {}

    def widened(self, name: str, old: Tensor, like: Tensor) -> Tensor:
        """A tensor in the shape of its counterpart.

        Parameters
        ----------
        name
            Of the parameter, as ``'cells.0.ops.1.2.sep_conv_3x3.1.weight'``.
        old
            What to widen.
        like
            The counterpart of the same name, no dimension of which is smaller.
        """
        for dimension, (size, wanted) in enumerate(zip(old.shape, like.shape)):
            if size != wanted:
                old = old.index_select(dimension, self._chosen(name, size, wanted).to(old.device))
        return old

    def _chosen(self, name: str, size: int, wanted: int) -> Tensor:
        """Which of ``size`` channels each of ``wanted`` copies."""
        key = _operation(name), size, wanted
        if key not in self._channels:
            self._channels[key] = torch.cat((torch.arange(size), torch.randint(size, (wanted - size,))))
        return self._channels[key]

    @torch.no_grad()
    def transfer(self, old: nn.Module, new: nn.Module) -> None:
        """Copy all parameters and buffers."""
        for name, module in new.named_modules():
            if isinstance(module, FactorizedReduce) and 'ops' in name.split('.'):
                self._choose_halves(name, old.get_submodule(name), module)
        target = new.state_dict()
        for name, value in old.state_dict().items():
            target[name].copy_(self.widened(name, value, target[name]))

    def _choose_halves(self, name: str, old: nn.Module, new: FactorizedReduce) -> None:
        """The norm's channels are those of both convolutions, side by side."""
        even, odd = (
            (getattr(old, half).out_channels, getattr(new, half).out_channels) for half in ('conv_even', 'conv_odd')
        )
        if even[0] + odd[0] != even[1] + odd[1]:
            halves = self._chosen(name, *even), even[0] + self._chosen(name, *odd)
            self._channels[_operation(name), even[0] + odd[0], even[1] + odd[1]] = torch.cat(halves)


def _operation(name: str) -> str:
    """The candidate on an edge that a module or a tensor belongs to."""
    parts = name.split('.')
    return '.'.join(parts[: parts.index('ops') + 4]) if 'ops' in parts else name
