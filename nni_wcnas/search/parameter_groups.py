"""Which parameters of a supernet are its architecture A, and which its weights W."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

from torch import nn

__all__ = ['ParameterGroups']


class ParameterGroups:
    """The two groups of one supernet, by name; found once: training changes values, never which parameters there are.

    Parameters
    ----------
    supernet
        The network that holds both groups.
    choices
        What replaced the choices of the space; they tell their architecture parameters.
    """

    def __init__(self, supernet: nn.Module, choices: Iterable[nn.Module]) -> None:
        self._supernet, self._choices = supernet, choices

    @cached_property
    def architecture(self) -> dict[str, nn.Parameter]:
        """A: the architecture parameters by their name in the supernet, sorted, without duplicates of shared ones."""
        wanted = {id(p) for module in self._choices for p in getattr(module, 'arch_parameters', tuple)()}
        return dict(sorted((name, p) for name, p in self._supernet.named_parameters() if id(p) in wanted))

    @cached_property
    def weights(self) -> dict[str, nn.Parameter]:
        """W: all other parameters of the supernet by name."""
        return {name: p for name, p in self._supernet.named_parameters() if name not in self.architecture}

    @cached_property
    def aliases(self) -> dict[str, str]:
        """The other names of shared parameters, as of the logits of all cells of a type, each with its name in A or
        W."""
        names = {id(p): name for group in (self.architecture, self.weights) for name, p in group.items()}
        # `functional_call` replaces tensors by name: without its aliases, a shared
        # parameter would be replaced in one cell only.
        every = self._supernet.named_parameters(remove_duplicate=False)
        return {name: names[id(p)] for name, p in every if names[id(p)] != name}
