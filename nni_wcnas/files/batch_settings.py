"""Which arguments of a data set decide what its batches hold, to tell whether two trainings saw the same data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ['batch_settings']

_ELSEWHERE = {'root', 'download', 'num_workers', 'device'}
"""Arguments that say where images lie and what loads them, on which no batch depends."""


def batch_settings(section: Mapping[str, Any]) -> dict[str, Any]:
    """Select the arguments of a data section that decide what its batches hold: equal ones mean equal batches.

    Parameters
    ----------
    section
        The section ``data`` of settings: the data set's name and arguments.

    Returns
    -------
    dict
        The section without the places and the loading of images. For a folder of the user's images ``root`` is kept:
        nothing else says which images there are.

    Examples
    --------
    >>> batch_settings({'name': 'cifar10', 'root': 'data', 'limit': 100, 'num_workers': 2})
    {'name': 'cifar10', 'limit': 100}
    >>> batch_settings({'name': 'image_folder', 'root': 'flowers', 'num_workers': 2})
    {'name': 'image_folder', 'root': 'flowers'}
    """
    left_out = _ELSEWHERE - {'root'} if section.get('name') == 'image_folder' else _ELSEWHERE
    return {key: value for key, value in section.items() if key not in left_out}
