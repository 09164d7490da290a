"""Model spaces as the papers search them, and architecture files."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from nni_wcnas.spaces.architecture import Architecture, ArchitectureError, load_architecture, save_architecture
from nni_wcnas.spaces.architecture_string import from_string, to_string

if TYPE_CHECKING:
    from nni_wcnas.spaces.darts import DARTS
    from nni_wcnas.spaces.nasbench201 import NASBench201
    from nni_wcnas.spaces.robust import s1, s2, s3, s4
    from nni_wcnas.spaces.view_network import ViewNetwork

__all__ = [
    'DARTS',
    'Architecture',
    'ArchitectureError',
    'NASBench201',
    'ViewNetwork',
    'from_string',
    'load_architecture',
    's1',
    's2',
    's3',
    's4',
    'save_architecture',
    'to_string',
]

# The modules that import NNI, by the names that they export here.
_HOMES = {
    'DARTS': 'darts',
    'NASBench201': 'nasbench201',
    'ViewNetwork': 'view_network',
    **dict.fromkeys(('s1', 's2', 's3', 's4'), 'robust'),
}


def __getattr__(name: str) -> Any:
    """Import a space on first use, as spaces need NNI and architecture files do not."""
    if name in _HOMES:
        return getattr(import_module(f'nni_wcnas.spaces.{_HOMES[name]}'), name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
