"""Which arguments of a data set tell what a batch holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ['same_data']

_ELSEWHERE = {'root', 'download', 'num_workers', 'device'}
"""Where images lie and who loads them."""


def same_data(section: Mapping[str, Any]) -> dict[str, Any]:
    """Those that do, of the data section of some settings: all of whose batches are the same where these are.

    The folder is one of them where it is all that says which images there are.

    Examples
    --------
    >>> same_data({'name': 'cifar10', 'root': 'data', 'limit': 100, 'num_workers': 2})
    {'name': 'cifar10', 'limit': 100}
    >>> same_data({'name': 'image_folder', 'root': 'flowers', 'num_workers': 2})
    {'name': 'image_folder', 'root': 'flowers'}
    """
    left_out = _ELSEWHERE - {'root'} if section.get('name') == 'image_folder' else _ELSEWHERE
    return {key: value for key, value in section.items() if key not in left_out}
