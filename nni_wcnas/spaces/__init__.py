"""Model spaces as the papers search them, and architecture files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nni_wcnas.spaces.architecture import Architecture, ArchitectureError, load_architecture, save_architecture

if TYPE_CHECKING:
    from nni_wcnas.spaces.darts import DARTS

__all__ = ['DARTS', 'Architecture', 'ArchitectureError', 'load_architecture', 'save_architecture']


def __getattr__(name: str) -> Any:
    """The space needs NNI, architecture files do not: import it on first use."""
    if name == 'DARTS':
        from nni_wcnas.spaces.darts import DARTS

        return DARTS
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
