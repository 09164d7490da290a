"""The file of a pre-trained tester: written atomically, read without executing pickled code.

It is a dictionary with the keys ``format`` (an integer), ``kind`` (the tester's class), ``settings`` (the tester's
constructor arguments), ``tester`` (its state), ``auxiliary`` (state of the auxiliary model, or None) and, in a file
that pre-training wrote, ``seconds`` (what generator and auxiliary model took so far, over all interruptions) and
``training``, from which it can resume.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

__all__ = ['FORMAT', 'read', 'refuse_other', 'refuse_other_kind', 'write']

FORMAT = 1
"""Version of the file's layout."""

_KEYS = ('settings', 'tester', 'auxiliary')


def write(path: str | Path, contents: dict[str, Any]) -> None:
    """Write ``contents`` so that at any moment ``path`` holds either the old file or the whole new one."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f'{path.name}.{os.getpid()}.partial')
    try:
        with temporary.open('wb') as file:
            torch.save({'format': FORMAT, **contents}, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read(path: str | Path, map_location: torch.device | str = 'cpu') -> dict[str, Any]:
    """Read a file that :func:`write` wrote.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, is something else, or has another format version.
    """
    if not Path(path).exists():
        raise FileNotFoundError(f'There is no file {path}; make it with `nni-wcnas pretrain`, or leave pretrained out.')
    with Path(path).open('rb') as file:
        try:
            contents = torch.load(file, map_location=map_location, weights_only=True)
        except Exception as error:  # The reader of a damaged archive may raise anything.
            raise ValueError(f'{path} is damaged or is no file of a pre-trained tester; '
                             'pre-train again or copy it again.') from error
    if not isinstance(contents, dict) or 'format' not in contents:
        raise ValueError(f'{path} is no file of a pre-trained tester, since it has no format version; '
                         'pass a file that pre-training wrote.')
    if contents['format'] != FORMAT:
        raise ValueError(f'{path} has format {contents["format"]}, but this version reads format {FORMAT}; '
                         'pre-train again.')
    missing = [key for key in _KEYS if key not in contents]
    if missing:
        raise ValueError(f'{path} is no file of a pre-trained tester, since it lacks {", ".join(missing)}; '
                         'pre-train again.')
    return contents


def refuse_other_kind(path: str | Path, contents: dict[str, Any], kind: str) -> None:
    """Refuse a file of another kind of tester; files from before there were several hold an ``FQGAN``.

    Raises
    ------
    ValueError
        Naming the file, both kinds and the remedy.
    """
    found = contents.get('kind', 'FQGAN')
    if found != kind:
        raise ValueError(f'{path} holds a tester of kind {found}, but {kind} was asked for; '
                         f'choose {found} or pre-train {kind}.')


def refuse_other(path: str | Path, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Refuse a file whose settings differ from the ``wanted`` ones.

    Raises
    ------
    ValueError
        Naming the file, the first differing setting, both values and the remedy.
    """
    for name, value in wanted.items():
        if name not in found or found[name] != value:
            raise ValueError(f'{path} was made with {name}={found.get(name)}, but {name}={value} was asked for; '
                             f'pass {name}={found.get(name)} or pre-train with {name}={value}.')
