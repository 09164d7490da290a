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
    """Call ``module`` and keep nothing but its inputs; random numbers are drawn again as they were.

    Parameters
    ----------
    module
        Whose forward pass to repeat; its parameters are those of the moment.
    *inputs, **options
        Of the forward pass.
    within
        Makes a context that brings back for the second computation what else is as now.

    Returns
    -------
    What the module returns.
    """
    if not torch.is_grad_enabled():
        return module(*inputs, **options)
    parameters: dict[str, Tensor] = dict(module.named_parameters())
    norms = [norm for norm in module.modules() if isinstance(norm, _BatchNorm)]
    modes = [_mode(norm) for norm in norms]

    second_pass: Callable[[], AbstractContextManager[None]] = nullcontext
    if has_quick_second_pass(module):
        second_pass = partial(quick_second_pass, module)

    def call(*inputs: Any) -> Any:
        return functional_call(module, parameters, inputs, options)

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _AsThen(norms, modes, within, second_pass)

    return checkpoint(call, *inputs, use_reentrant=False, context_fn=contexts)


def _mode(norm: _BatchNorm) -> tuple[bool, bool]:
    """What ``frozen_statistics`` and ``eval`` change."""
    return norm.training, norm.track_running_stats


def _set_modes(norms: Sequence[_BatchNorm], modes: Sequence[tuple[bool, bool]]) -> None:
    for norm, mode in zip(norms, modes):
        norm.training, norm.track_running_stats = mode


class _AsThen:
    """Batch norms in their earlier modes, moving copies of their statistics; all is put back. May be entered again and
    again."""

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
        self.layers = self.second_pass()  # Chosen by the modes.
        self.layers.__enter__()

    def __exit__(self, *error: Any) -> None:
        self.layers.__exit__(*error)
        self.context.__exit__(*error)
        _set_modes(self.norms, self.modes_now)
        for norm, statistics in zip(self.norms, self.statistics_now):
            norm._buffers.update(statistics)
