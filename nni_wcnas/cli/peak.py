"""The most memory that this process has held at a time."""

from __future__ import annotations

from pathlib import Path

import psutil
import torch

__all__ = ['peak_memory']


def peak_memory(device: str) -> float:
    """In bytes: of the GPU if ``device`` is ``'cuda'``, else resident memory."""
    if device == 'cuda':
        return float(torch.cuda.max_memory_reserved())
    status = Path('/proc/self/status')  # What getrusage says is at least what the parent held.
    if status.exists():
        (kilobytes,) = (line.split()[1] for line in status.read_text().splitlines() if line.startswith('VmHWM'))
        return float(kilobytes) * 1024
    information = psutil.Process().memory_info()
    return float(getattr(information, 'peak_wset', information.rss))
