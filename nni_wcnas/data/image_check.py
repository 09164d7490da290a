"""Find damaged images before the first epoch, not when a batch first needs them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image
from tqdm import tqdm

from .error import DataError
from .store import UNREADABLE, open_image, refuse_deep, unreadable

if TYPE_CHECKING:
    from .image_data import ImageData

__all__ = ['check_images']

_SECONDS = 60.0
"""Whole files are read where that is expected to take less."""

_BYTES_A_SECOND, _FILES_A_SECOND = 8e6, 1500.0
"""What one core decodes at least, of JPEG and PNG files."""

_NAMED = 10
"""How many damaged files a message names."""


def check_images(data: ImageData, *, whole: bool | None = None, progress: bool = True) -> int:
    """Check all images that a run will need: of the training and of the test set.

    The header of each file is always read: that finds files that are no images, are empty or have a mode that is not
    supported. Only reading whole files finds truncated ones.

    Parameters
    ----------
    data
        The data set; images in memory need no check.
    whole
        Whether to decode whole files; None decodes them where that is expected to take less than a minute.
    progress
        Whether to show a bar on stderr, on a terminal.

    Returns
    -------
    int
        How many files were checked.

    Raises
    ------
    DataError
        If files are damaged, with the first ten and how many there are.
    """
    paths = (*data.images.train.files(), *data.images.test.files())
    if not paths:
        return 0
    if whole is None:
        whole = _seconds(paths) < _SECONDS
    # Threads: Pillow decodes without Python's lock.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        answers = pool.map(_damage if whole else _damaged_header, paths)
        # disable=None: no bar where stderr is not a terminal.
        bar = tqdm(answers, total=len(paths), desc='checking images', unit='file', disable=None if progress else True)
        damaged = [answer for answer in bar if answer]
    if len(damaged) == 1:
        raise DataError(damaged[0])
    if damaged:
        more = f'\n  and {len(damaged) - _NAMED} more' if len(damaged) > _NAMED else ''
        lines = ''.join(f'\n  {line}' for line in damaged[:_NAMED])
        raise DataError(f'{len(damaged)} of {len(paths)} images cannot be read:{lines}{more}')
    return len(paths)


def _seconds(paths: Sequence[Path]) -> float:
    """Estimate how long decoding takes at most, by count and size."""
    size = 0
    for path in paths:
        # A missing file costs nothing here, and is found by its header.
        size += path.stat().st_size if path.exists() else 0
    return size / _BYTES_A_SECOND + len(paths) / _FILES_A_SECOND


def _damage(path: Path) -> str:
    """Say what is wrong with a file; empty where it can be decoded."""
    try:
        open_image(path)
    except DataError as error:
        return str(error)
    return ''


def _damaged_header(path: Path) -> str:
    """Say what is wrong with a file's header; empty where it can be read."""
    try:
        with Image.open(path) as opened:
            refuse_deep(opened)
    except UNREADABLE as error:
        return str(unreadable(path, error))
    return ''
