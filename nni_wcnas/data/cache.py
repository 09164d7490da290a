"""Where what is made once, and shared by all searches, is kept."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ['cache_folder']


def cache_folder(given: str | Path | None = None) -> Path:
    """The given folder, else that of the environment variable ``NNI_WCNAS_CACHE``, else ``~/.cache/nni_wcnas``."""
    return Path(given or os.environ.get('NNI_WCNAS_CACHE') or Path.home() / '.cache' / 'nni_wcnas')
