"""A disk of 1 MB, to fill it."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager

import pytest


def mount(*arguments):
    """Run ``mount``; tell whether it could."""
    return subprocess.run(['mount', *map(str, arguments)], capture_output=True).returncode == 0


@contextmanager
def small_disk(folder):
    """Give an empty folder a file system of its own, as long as the context lasts; skip the test where nobody may."""
    if os.name != 'posix' or os.geteuid() or not mount('-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', folder):
        pytest.skip('only root may mount a small disk')
    try:
        yield folder
    finally:
        subprocess.run(['umount', str(folder)], check=True)
