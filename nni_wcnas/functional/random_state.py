"""torch's global random state, of the CPU and of every GPU: kept, put back, and left as if nothing had been drawn."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

__all__ = ['random_state', 'restore_random_state', 'untouched_random_state']


def random_state() -> dict[str, Any]:
    """Return the state of torch's global generators, of the CPU and of every GPU, as tensors."""
    return {'cpu': torch.get_rng_state(), 'cuda': torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []}


def restore_random_state(state: dict[str, Any]) -> None:
    """Put back the state of torch's global generators that :func:`random_state` returned.

    The states of GPUs that this machine lacks are left out, and GPUs that the state knows nothing of stay as they are.
    """
    # To the CPU: a file that is read to a GPU brings the states there, and torch takes none from a GPU.
    torch.set_rng_state(state['cpu'].cpu())
    for number, own in enumerate(state['cuda'][: torch.cuda.device_count()]):
        torch.cuda.set_rng_state(own.cpu(), number)


@contextmanager
def untouched_random_state(seed: int | None = None) -> Iterator[None]:
    """Put torch's random states, of the CPU and of all GPUs, back at the end of the context.

    Parameters
    ----------
    seed
        What the generators are seeded with for the context; None lets them go on from where they are.

    Examples
    --------
    >>> before = torch.get_rng_state()
    >>> with untouched_random_state(0):
    ...     _ = torch.rand(3)
    >>> before.equal(torch.get_rng_state())
    True
    """
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        if seed is not None:
            torch.manual_seed(seed)
        yield
