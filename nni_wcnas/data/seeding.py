"""Seeds derived from names, so that no random stream depends on what was drawn before it."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

__all__ = ['derive_generator', 'derive_seed', 'seeded_globals']


def derive_seed(*keys: str | int) -> int:
    """Derive a seed from keys; equal keys give equal seeds on every machine and in every process.

    Parameters
    ----------
    keys
        Names and numbers that say what the stream is for, e.g. ``(seed, 'weights', epoch, batch)``. ``1`` and ``'1'``
        are different keys.

    Returns
    -------
    int
        A seed in ``[0, 2**63)``, which ``torch.Generator.manual_seed`` takes.

    Raises
    ------
    TypeError
        If a key is neither a string nor an integer.

    Examples
    --------
    >>> derive_seed(0, 'weights') == derive_seed(0, 'weights')
    True
    >>> derive_seed(0, 'weights') == derive_seed(1, 'weights')
    False
    """
    for key in keys:
        if not isinstance(key, (str, int)):
            raise TypeError(f'A seed key must be a string or an integer, not {key!r}; pass int(...) or str(...) of it.')
    # JSON keeps the types and the borders of the keys apart. Python's hash() of strings differs between processes.
    digest = hashlib.sha256(json.dumps(keys).encode()).digest()
    # The first 64 bits of the digest less one: torch takes signed seeds.
    return int.from_bytes(digest[:8], 'big') >> 1


def derive_generator(*keys: str | int) -> torch.Generator:
    """Build a CPU generator seeded with :func:`derive_seed` of the keys."""
    return torch.Generator().manual_seed(derive_seed(*keys))


@contextmanager
def seeded_globals(*keys: str | int) -> Iterator[None]:
    """Seed the global CPU generators of Python, NumPy and torch inside the context, and put them back afterwards.

    It is for libraries that can draw from no other generator.

    Parameters
    ----------
    keys
        As for :func:`derive_seed`.
    """
    seed = derive_seed(*keys)
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        random.seed(seed)
        # NumPy's global generator takes 32 bits.
        np.random.seed(seed % 2**32)
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed the GPUs as well.
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
