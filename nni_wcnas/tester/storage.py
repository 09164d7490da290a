"""The file of a pre-trained tester: written atomically, read without executing pickled code.

It is a dictionary with the keys ``format`` (an integer), ``kind`` (the tester's class), ``settings`` (the tester's
constructor arguments), ``tester`` (its state), ``auxiliary`` (state of the auxiliary model, or None) and, in a file
that pre-training wrote, ``seconds`` (what generator and auxiliary model took so far, over all interruptions) and
``training``, from which it can resume.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nni_wcnas.errors import InvalidFile
from nni_wcnas.tensor_file import TensorFileError, read_tensors, write_tensors

__all__ = ['FORMAT', 'read', 'refuse_other', 'refuse_other_kind', 'shapes', 'write']

FORMAT = 1
"""Version of the file's layout; a file of another version is refused."""

_ROUNDING = 1e-5
"""Largest relative difference by rounding: some hundred times that of a 32-bit number."""

_KEYS = ('settings', 'tester', 'auxiliary')


def write(path: str | Path, contents: dict[str, Any]) -> None:
    """Write ``contents`` so that at any moment ``path`` holds either the old file or the whole new one."""
    write_tensors(path, {'format': FORMAT, **contents})


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
    try:
        contents = read_tensors(path, 'pre-train again or copy it again', map_location)
    except TensorFileError as error:
        raise InvalidFile('pretrained', path, error.remedy, reason=error.reason) from error
    if not isinstance(contents, dict) or 'format' not in contents:
        raise InvalidFile(
            'pretrained', path, 'pass a file that pre-training wrote',
            reason='is no file of a pre-trained tester, since it has no format version',
        )
    if contents['format'] != FORMAT:
        raise InvalidFile(
            'pretrained', path, 'pre-train again',
            reason=f'has format {contents["format"]}, but this version reads format {FORMAT}',
        )
    missing = [key for key in _KEYS if key not in contents]
    if missing:
        raise InvalidFile(
            'pretrained', path, 'pre-train again',
            reason=f'is no file of a pre-trained tester, since it lacks {", ".join(missing)}',
        )
    return contents


def refuse_other_kind(path: str | Path, contents: dict[str, Any], kind: str) -> None:
    """Raise ValueError if a file holds another kind of tester; a file without a kind holds an ``FQGAN``.

    Raises
    ------
    ValueError
        If the kinds differ; it names the file, both kinds and the remedy.
    """
    found = contents.get('kind', 'FQGAN')
    if found != kind:
        raise InvalidFile(
            'pretrained', path, f'choose {found} or pre-train {kind}',
            reason=f'holds a tester of kind {found}, but {kind} was asked for',
        )


def refuse_other(path: str | Path, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Raise ValueError if the settings ``found`` in a file lack or contradict any of the ``wanted`` ones.

    Numbers that differ by rounding alone are equal: a hyper-parameter of B is read off its unconstrained value, by
    functions that round in another way on another device.

    Raises
    ------
    ValueError
        If a setting differs; it names the file, the first such setting, both values and the remedy.
    """
    for name, value in wanted.items():
        if name not in found or not _same(found[name], value):
            there, here = _shown(found.get(name)), _shown(value)
            raise InvalidFile(
                'pretrained', path, f'pass {name}={there} or pre-train with {name}={here}',
                reason=f'was made with {name}={there}, but {name}={here} was asked for',
            )


def shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor of a state by name: equal for two models if one can load the other's."""
    return {name: tuple(value.shape) for name, value in state.items()}


def _same(found: Any, wanted: Any) -> bool:
    """Tell whether two settings are equal, or are floating-point numbers that differ by rounding alone."""
    if isinstance(found, float) and isinstance(wanted, float):
        return math.isclose(found, wanted, rel_tol=_ROUNDING)
    return bool(found == wanted)


def _shown(value: Any) -> str:
    """Write a setting for a message, a floating-point number without the last digits, which are rounding."""
    return f'{value:.6g}' if isinstance(value, float) else str(value)
