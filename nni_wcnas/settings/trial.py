"""A trial: checked settings, with the parts of the search that they describe."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from nni_wcnas.data import ImageData
from nni_wcnas.settings import assembly
from nni_wcnas.settings.resolved import resolved
from nni_wcnas.settings.schema import Settings
from nni_wcnas.strategy import Search

__all__ = ['Trial']


@dataclass(frozen=True)
class Trial:
    """Checked settings and their parts, each of which is built once, when it is first asked for.

    Model space, tester and auxiliary model are not among them: their weights are drawn from the search's seed, and so
    are made when the search begins.

    Parameters
    ----------
    settings
        Checked settings.
    """

    settings: Settings

    @cached_property
    def strategy(self) -> Search:
        """The strategy of the search; a search uses it up."""
        return assembly.make_strategy(self.settings)

    @cached_property
    def data(self) -> ImageData:
        """The data, on the device of the search where the images can be held there."""
        return assembly.make_data(self.settings)

    @property
    def data_on_cpu(self) -> ImageData:
        """The data for a check, which shall not fill a GPU with images; the search's where it is on the CPU."""
        if assembly.device(self.settings) == 'cpu':
            return self.data
        return assembly.make_data(self.settings.model_copy(update={'device': 'cpu'}))

    @cached_property
    def resolved(self) -> dict[str, Any]:
        """Everything that the run depends on, spelt out; asked for before the search, which uses the strategy up."""
        return resolved(self.settings, self.strategy)
