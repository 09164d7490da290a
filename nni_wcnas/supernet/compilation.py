"""Cells by ``torch.compile``, or as they are where that cannot be.

What is compiled is a function of the states and the mixing weights alone: the edges of one cell. Random numbers,
logits and everything else that changes from step to step stay outside, so that nothing is compiled twice without need.
Compiled anew, at the price of the first time, are

- passes that move running statistics and passes that do not, live weights and those of
  ``torch.func.functional_call``, parameters with and without gradient,
- other sizes of batches or images, and other candidates that were pruned.

Passes without gradients are not compiled: there are few, and each kind would cost a compilation of its own. There are
no second derivatives.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
import torch._dynamo.config
import torch._dynamo.exc
import torch._functorch.config
from torch import Tensor

from nni_wcnas.supernet.fast_edges import FastEdges
from nni_wcnas.supernet.plain_edges import PlainEdges
from nni_wcnas.supernet.surroundings import Surroundings

__all__ = ['Compilation', 'Compiled']

_logger = logging.getLogger(__name__)

_KINDS = 64
"""Passes that differ in what is compiled, at most, for each cell; torch's own limit is 8."""
_FAILURES: tuple[type[Exception], ...] = (
    torch._dynamo.exc.TorchDynamoException,
    # Too many kinds of passes; the versions of torch differ in its name.
    getattr(torch._dynamo.exc, 'FailOnRecompileLimitHit', torch._dynamo.exc.TorchDynamoException),
)


class Compilation:
    """What the cells of a supernet compile with, until one of them cannot.

    Parameters
    ----------
    backend
        Of ``torch.compile``.
    """

    def __init__(self, backend: str | Callable[..., Any] = 'inductor') -> None:
        self.backend = backend
        self.is_possible = True
        self._is_checked = False

    def suits(self, device: torch.device) -> bool:
        """Whether to compile for this device; looks once for what it takes."""
        if not self._is_checked:
            self._is_checked = True
            if self.backend == 'inductor' and device.type == 'cpu' and not _has_compiler():
                self.give_up('there is no C++ compiler; install g++, or name another in CXX')
        return self.is_possible

    def give_up(self, reason: str) -> None:
        """Compute all cells as they are from now on, and say so once."""
        if self.is_possible:
            _logger.warning('compile=True has no effect, cells are computed as they are: %s', reason)
        self.is_possible = False

    def options(self) -> dict[str, Any]:
        """Those of the backend: random numbers are those of torch, so that moments draw what they would."""
        return {'options': {'fallback_random': True}} if self.backend == 'inductor' else {}


class Compiled:
    """The edges of one cell, compiled when they are first needed.

    A copy of it compiles anew, as what is compiled belongs to the modules of one cell.

    Parameters
    ----------
    compilation
        Shared by the cells of a supernet.
    """

    def __init__(self, compilation: Compilation) -> None:
        self.compilation = compilation
        self._functions: dict[frozenset[tuple[int, int]], Callable[..., list[Tensor]]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), '_functions': {}}

    def __call__(
        self,
        edges: FastEdges | PlainEdges,
        states: Sequence[Tensor],
        weights: Tensor,
        absent: Collection[tuple[int, int]],
        surroundings: Surroundings,
    ) -> list[Tensor]:
        """As ``edges`` would be called."""
        if torch.is_grad_enabled() and self.compilation.suits(weights.device):
            function = self._function(edges, frozenset(absent))
            try:
                with _whole():
                    return function(list(states), weights, surroundings)
            except _FAILURES as error:
                self.compilation.give_up(_reason(error))
        return edges(states, weights, absent, surroundings)

    def _function(
        self, edges: FastEdges | PlainEdges, absent: frozenset[tuple[int, int]]
    ) -> Callable[..., list[Tensor]]:
        """The edges without these candidates; only the last ones are kept, as what was pruned never returns."""
        if absent not in self._functions:
            if isinstance(edges, FastEdges):
                edges.prepare()

            def run(states: list[Tensor], weights: Tensor, surroundings: Surroundings) -> list[Tensor]:
                return edges(states, weights, absent, surroundings)

            # torch counts and keeps what it compiles by code object: each cell has its own.
            run.__code__ = run.__code__.replace()
            chosen = {'backend': self.compilation.backend, **self.compilation.options()}
            self._functions = {absent: torch.compile(run, fullgraph=True, dynamic=False, **chosen)}
        return self._functions[absent]


@contextmanager
def _whole() -> Iterator[None]:
    """Compile the backward pass together with the forward pass, where failures are still harmless; let each cell have
    as many kinds of passes as a search makes, with batches of several sizes."""
    config, dynamo = torch._functorch.config, torch._dynamo.config
    limit = 'recompile_limit' if hasattr(dynamo, 'recompile_limit') else 'cache_size_limit'
    with ExitStack() as stack:
        stack.enter_context(dynamo.patch({limit: _KINDS}))
        if hasattr(config, 'force_non_lazy_backward_lowering'):
            stack.enter_context(config.patch(force_non_lazy_backward_lowering=True))
        yield


def _has_compiler() -> bool:
    from torch._inductor import cpp_builder, exc  # Takes seconds, which only those who compile should wait.

    try:
        cpp_builder.get_cpp_compiler()
    except (RuntimeError, exc.InvalidCxxCompiler):
        return False
    return True


def _reason(error: Exception) -> str:
    """The first line of what went wrong."""
    cause = getattr(error, 'inner_exception', error)
    first = next(iter(str(cause).strip().splitlines()), '')
    return f'torch cannot compile them ({f"{type(cause).__name__}: {first}".rstrip(": ")})'
