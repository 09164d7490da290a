"""Labelled groups of test examples: from a file, or by the cue of data with a shortcut."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nni_wcnas.data import ImageData
from nni_wcnas.data.shortcut import GROUPS, groups

__all__ = ['Groups', 'load_groups', 'shortcut_groups']


@dataclass(frozen=True)
class Groups:
    """A group for each test example.

    Parameters
    ----------
    values
        Shape ``(N,)``, int64.
    names
        Of some or all groups.
    source
        What tells these groups from others.
    """

    values: Tensor
    names: dict[int, str]
    source: str


def load_groups(path: str | None, names: str | None, count: int) -> Groups | None:
    """Read groups, and their names if there is a file of them; None without a path.

    Raises
    ------
    ValueError
        One sentence if a file is missing, unreadable, or does not fit ``count`` test examples.
    """
    if path is None:
        if names is not None:
            raise ValueError(f'--group-names {names} names no groups; give --groups, too')
        return None
    try:
        values = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise ValueError(f'--groups {path}: there is no such file; give a .npy file') from None
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f'--groups {path}: not a readable .npy array; save it with numpy.save') from error
    if not isinstance(values, np.ndarray) or values.dtype.kind not in 'iu' or values.shape != (count,):
        found = f'{values.dtype} of shape {values.shape}' if isinstance(values, np.ndarray) else 'several arrays'
        raise ValueError(f'--groups {path}: holds {found}; give one integer for each of the {count} test examples')
    named = _names(names)
    content = values.tobytes() + (json.dumps(named, sort_keys=True).encode() if named else b'')
    source = f'{Path(path).name} {hashlib.sha256(content).hexdigest()[:16]}'
    return Groups(torch.from_numpy(values.astype(np.int64)), named, source)


def shortcut_groups(data: ImageData) -> Groups | None:
    """Whether the cue of each test image agrees with its label or contradicts it; None for data without a shortcut."""
    values = groups(data.images)
    return None if values is None else Groups(values, dict(enumerate(GROUPS)), f'shortcut {data.name}')


def _names(path: str | None) -> dict[int, str]:
    if path is None:
        return {}
    try:
        document = json.loads(Path(path).read_text(encoding='utf-8'))
        found = {int(group): str(name) for group, name in document.items()}
    except OSError as error:
        raise ValueError(f'--group-names {path}: cannot be read ({error.strerror}); give a JSON file') from error
    except (ValueError, AttributeError) as error:
        raise ValueError(f'--group-names {path}: is no JSON map from group to name; write {{"0": "day"}}') from error
    twice = [name for name, count in Counter(found.values()).items() if count > 1]
    if twice:  # Of two measures of one name only the last would be kept.
        raise ValueError(f'--group-names {path}: {twice[0]!r} names several groups; give each a name of its own')
    return found
