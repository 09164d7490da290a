"""The most memory that this process has held at a time."""

from __future__ import annotations

from pathlib import Path

import psutil
import torch

__all__ = ['peak_memory']


def peak_memory(device: str) -> float:
    """Return the peak memory in bytes: that reserved on the GPU if ``device`` is ``'cuda'``, else resident memory."""
    if device == 'cuda':
        return float(torch.cuda.max_memory_reserved())
    # Linux keeps the peak of resident memory as VmHWM, in units of 1024 bytes. What getrusage says would be no use: a
    # new process starts there with what its parent held.
    status = Path('/proc/self/status')
    if status.exists():
        (kilobytes,) = (line.split()[1] for line in status.read_text().splitlines() if line.startswith('VmHWM'))
        return float(kilobytes) * 1024
    information = psutil.Process().memory_info()
    # Elsewhere: Windows knows its peak, macOS only what is held now.
    return float(getattr(information, 'peak_wset', information.rss))
