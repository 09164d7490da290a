"""Cells compiled by ``torch.compile``, or computed as they are where compiling is not possible.

What is compiled is a function of the states and the mixing weights alone: the edges of one cell. Random numbers,
logits and everything else that changes from step to step stay outside, so that nothing is compiled twice without need.
Some passes differ so much that torch compiles each kind anew, at the price of the first time:

- passes that move running statistics and passes that do not, passes on live weights and on those of
  ``torch.func.functional_call``, passes with and without gradients of the parameters,
- passes on other sizes of batches or images, and passes without other candidates that were pruned.

Passes without gradients are not compiled: there are few, and each kind would cost a compilation of its own. Compiled
passes have no second derivatives.
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

from nni_wcnas.supernet.edge_context import EdgeContext
from nni_wcnas.supernet.fast_edges import FastEdges
from nni_wcnas.supernet.plain_edges import PlainEdges

__all__ = ['Compilation', 'Compiled']

_logger = logging.getLogger(__name__)

_KINDS = 64
"""Largest number of kinds of passes that are compiled for each cell; torch's own limit is 8."""
_FAILURES: tuple[type[Exception], ...] = (
    torch._dynamo.exc.TorchDynamoException,
    # Too many kinds of passes; the versions of torch differ in its name.
    getattr(torch._dynamo.exc, 'FailOnRecompileLimitHit', torch._dynamo.exc.TorchDynamoException),
)


class Compilation:
    """The settings that the cells of a supernet compile with, and whether compiling still works for all of them.

    Parameters
    ----------
    backend
        Backend of ``torch.compile``, by name or as a function.
    """

    def __init__(self, backend: str | Callable[..., Any] = 'inductor') -> None:
        self.backend = backend
        self.is_possible = True
        self._is_checked = False

    def suits(self, device: torch.device) -> bool:
        """Return whether to compile for this device; look for a C++ compiler the first time, if one is needed."""
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
        """Return the options of the backend, which make inductor draw the random numbers that torch would draw."""
        return {'options': {'fallback_random': True}} if self.backend == 'inductor' else {}


class Compiled:
    """The edges of one cell, compiled when they are first needed.

    A copy of it compiles anew, as compiled functions belong to the modules of one cell.

    Parameters
    ----------
    compilation
        The settings, which all cells of a supernet share.
    """

    def __init__(self, compilation: Compilation) -> None:
        self.compilation = compilation
        self._functions: dict[frozenset[tuple[int, int]], Callable[..., list[Tensor]]] = {}

    def __getstate__(self) -> dict[str, Any]:
        # A local function cannot be pickled, and a copied cell must not run the modules of the old one.
        return {**vars(self), '_functions': {}}

    def __call__(
        self,
        edges: FastEdges | PlainEdges,
        states: Sequence[Tensor],
        weights: Tensor,
        absent: Collection[tuple[int, int]],
        context: EdgeContext,
    ) -> list[Tensor]:
        """Return the states that ``edges`` would return for these arguments, compiled if that is possible."""
        # The weights tell the device: they are where the logits are.
        if torch.is_grad_enabled() and self.compilation.suits(weights.device):
            function = self._function(edges, frozenset(absent))
            try:
                with _whole():
                    return function(list(states), weights, context)
            # The pass has changed nothing yet when compiling fails, so it is made again below, without.
            except _FAILURES as error:
                self.compilation.give_up(_reason(error))
        return edges(states, weights, absent, context)

    def _function(
        self, edges: FastEdges | PlainEdges, absent: frozenset[tuple[int, int]]
    ) -> Callable[..., list[Tensor]]:
        """Return a compiled function of the edges without these candidates.

        Only the last one is kept: what was pruned never returns.
        """
        if absent not in self._functions:
            # FastEdges finds its modules at its first use, which the compiler should not have to trace.
            if isinstance(edges, FastEdges):
                edges.prepare()

            def run(states: list[Tensor], weights: Tensor, context: EdgeContext) -> list[Tensor]:
                return edges(states, weights, absent, context)

            # torch counts and keeps what it compiles by code object: each cell has its own.
            run.__code__ = run.__code__.replace()
            chosen = {'backend': self.compilation.backend, **self.compilation.options()}
            # fullgraph: a break in the graph is a failure that is reported, not a cell that is slow in silence.
            # dynamic=False: a graph for each size of batch, of which there are few.
            self._functions = {absent: torch.compile(run, fullgraph=True, dynamic=False, **chosen)}
        return self._functions[absent]


@contextmanager
def _whole() -> Iterator[None]:
    """Compile forward and backward pass together inside the context, and allow as many kinds as a search makes.

    A failure to compile is still harmless in the forward pass, which can be computed as it is.
    """
    config, dynamo = torch._functorch.config, torch._dynamo.config
    # The limit has another name in older versions of torch.
    limit = 'recompile_limit' if hasattr(dynamo, 'recompile_limit') else 'cache_size_limit'
    with ExitStack() as stack:
        stack.enter_context(dynamo.patch({limit: _KINDS}))
        # Otherwise torch compiles the backward pass when it is first run, where nobody catches a failure.
        if hasattr(config, 'force_non_lazy_backward_lowering'):
            stack.enter_context(config.patch(force_non_lazy_backward_lowering=True))
        yield


def _has_compiler() -> bool:
    """Return whether inductor finds a C++ compiler."""
    from torch._inductor import cpp_builder, exc  # Takes seconds, which only those who compile should wait.

    try:
        cpp_builder.get_cpp_compiler()
    except (RuntimeError, exc.InvalidCxxCompiler):
        return False
    return True


def _reason(error: Exception) -> str:
    """Return a sentence with the first line of what went wrong."""
    # torch wraps what a backend raises.
    cause = getattr(error, 'inner_exception', error)
    first = next(iter(str(cause).strip().splitlines()), '')
    return f'torch cannot compile them ({f"{type(cause).__name__}: {first}".rstrip(": ")})'
