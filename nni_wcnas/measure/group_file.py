"""Divide test examples into labelled groups: from a file, or by the cue of data with a shortcut."""

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
    """The group of each test example.

    Parameters
    ----------
    values
        Number of the group of each test example, shape ``(N,)``, int64.
    names
        Name by number of the group, for some or all groups.
    source
        Name that tells these groups from others; it depends on their content.
    """

    values: Tensor
    names: dict[int, str]
    source: str


def load_groups(path: str | None, names: str | None, count: int) -> Groups | None:
    """Read groups, and their names if there is a file of them; None without a path.

    Raises
    ------
    ValueError
        If a file is missing, unreadable, or does not fit ``count`` test examples.
    """
    if path is None:
        if names is not None:
            raise ValueError(f'--group-names {names} names no groups; give --groups, too')
        return None
    try:
        # Without pickles, which could run code.
        values = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise ValueError(f'--groups {path}: there is no such file; give a .npy file') from None
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f'--groups {path}: not a readable .npy array; save it with numpy.save') from error
    if not isinstance(values, np.ndarray) or values.dtype.kind not in 'iu' or values.shape != (count,):
        found = f'{values.dtype} of shape {values.shape}' if isinstance(values, np.ndarray) else 'several arrays'
        raise ValueError(f'--groups {path}: holds {found}; give one integer for each of the {count} test examples')
    named = _names(names)
    # The measures of groups carry the names, so the hash covers these, too.
    content = values.tobytes() + (json.dumps(named, sort_keys=True).encode() if named else b'')
    source = f'{Path(path).name} {hashlib.sha256(content).hexdigest()[:16]}'
    return Groups(torch.from_numpy(values.astype(np.int64)), named, source)


def shortcut_groups(data: ImageData) -> Groups | None:
    """Group test images by whether their cue agrees with their label; None for data without a shortcut."""
    values = groups(data.images)
    return None if values is None else Groups(values, dict(enumerate(GROUPS)), f'shortcut {data.name}')


def _names(path: str | None) -> dict[int, str]:
    """Read the names of groups from a JSON file, by number of the group; empty without a file."""
    if path is None:
        return {}
    try:
        document = json.loads(Path(path).read_text(encoding='utf-8'))
        # JSON has string keys only. int() raises ValueError for a key that is no number.
        found = {int(group): str(name) for group, name in document.items()}
    except OSError as error:
        raise ValueError(f'--group-names {path}: cannot be read ({error.strerror}); give a JSON file') from error
    except (ValueError, AttributeError) as error:
        raise ValueError(f'--group-names {path}: is no JSON map from group to name; write {{"0": "day"}}') from error
    twice = [name for name, count in Counter(found.values()).items() if count > 1]
    if twice:  # Two groups of one name would give one measure: the first would be lost.
        raise ValueError(f'--group-names {path}: {twice[0]!r} names several groups; give each a name of its own')
    return found
