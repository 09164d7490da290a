"""Find the folder of what is computed once and shared by all searches."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ['cache_folder']


def cache_folder(given: str | Path | None = None) -> Path:
    """Return the given folder, else that of the variable ``NNI_WCNAS_CACHE``, else ``~/.cache/nni_wcnas``."""
    return Path(given or os.environ.get('NNI_WCNAS_CACHE') or Path.home() / '.cache' / 'nni_wcnas')
