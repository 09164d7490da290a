"""Trade time for memory: forget what a module computed, and compute it again in the backward pass.

Unlike with ``torch.utils.checkpoint`` alone, the second computation sees the parameters of the first, also inside
``torch.func.functional_call``, where the live ones are others by then; batch norms normalise as they did, and their
running statistics stay where the first computation left them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from nni_wcnas.functional.second_pass import has_quick_second_pass, quick_second_pass

__all__ = ['recomputed']


def recomputed(
    module: nn.Module, *inputs: Any, within: Callable[[], AbstractContextManager[None]] = nullcontext, **options: Any
) -> Any:
    """Call ``module`` and keep nothing but its inputs; the backward pass computes it again, with equal random numbers.

    Parameters
    ----------
    module
        The module to call; the second computation uses the parameters that it has now.
    *inputs, **options
        Arguments of its forward pass.
    within
        Makes a context for the second computation, which brings back whatever else must be as it is now.

    Returns
    -------
    What the module returns.
    """
    # Without a graph nothing is kept anyway.
    if not torch.is_grad_enabled():
        return module(*inputs, **options)
    # Inside functional_call these are the tensors that were put in, not the live ones; the closure keeps them until the
    # backward pass, which runs after functional_call has put the live ones back.
    parameters: dict[str, Tensor] = dict(module.named_parameters())
    # The modes of now: by the time of the backward pass frozen_statistics may be closed.
    norms = [norm for norm in module.modules() if isinstance(norm, _BatchNorm)]
    modes = [_mode(norm) for norm in norms]

    second_pass: Callable[[], AbstractContextManager[None]] = nullcontext
    if has_quick_second_pass(module):
        second_pass = partial(quick_second_pass, module)

    def call(*inputs: Any) -> Any:
        return functional_call(module, parameters, inputs, options)

    # torch asks for two contexts, one for each computation. The first needs none.
    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _AsThen(norms, modes, within, second_pass)

    # The reentrant form supports neither second derivatives nor torch.autograd.grad. Random states are restored by
    # default.
    return checkpoint(call, *inputs, use_reentrant=False, context_fn=contexts)


def _mode(norm: _BatchNorm) -> tuple[bool, bool]:
    """Return the flags of a batch norm that ``eval`` and ``frozen_statistics`` change."""
    return norm.training, norm.track_running_stats


def _set_modes(norms: Sequence[_BatchNorm], modes: Sequence[tuple[bool, bool]]) -> None:
    """Set the flags that :func:`_mode` returns, for each batch norm."""
    for norm, mode in zip(norms, modes):
        norm.training, norm.track_running_stats = mode


class _AsThen:
    """A context for the second computation, which may be entered again and again.

    Inside, batch norms are in the modes of the first computation and move copies of their statistics. Everything is put
    back on leaving.
    """

    def __init__(
        self,
        norms: Sequence[_BatchNorm],
        modes: Sequence[tuple[bool, bool]],
        within: Callable[[], AbstractContextManager[None]],
        second_pass: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self.norms, self.modes, self.within, self.second_pass = norms, modes, within, second_pass

    def __enter__(self) -> None:
        self.context = self.within()
        self.context.__enter__()
        self.modes_now = [_mode(norm) for norm in self.norms]
        # Not written to: a graph that is differentiated again may have kept them.
        self.statistics_now = [dict(norm.named_buffers(recurse=False)) for norm in self.norms]
        for norm, statistics in zip(self.norms, self.statistics_now):
            norm._buffers.update({name: value.clone() for name, value in statistics.items()})
        _set_modes(self.norms, self.modes)
        # Last: it looks at the modes to choose the layers that it replaces.
        self.layers = self.second_pass()
        self.layers.__enter__()

    def __exit__(self, *error: Any) -> None:
        self.layers.__exit__(*error)
        self.context.__exit__(*error)
        _set_modes(self.norms, self.modes_now)
        for norm, statistics in zip(self.norms, self.statistics_now):
            norm._buffers.update(statistics)
