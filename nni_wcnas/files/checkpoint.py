"""Reading checkpoints: a file that is not whole is refused in one sentence, and no pickled code is executed."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, Literal
from zipfile import BadZipFile

import torch

__all__ = ['CheckpointError', 'check_checkpoint']


_KEYS = {'search': {'state_dict', 'pytorch-lightning_version', 'nni_wcnas'}, 'retrain': {'network'}}
"""Keys that a checkpoint of each kind must hold."""
_REMEDIES = {
    'search': (' to resume from; start the run without resuming',
               'delete it to start the run again from its first epoch',
               'delete it to start again, or make one with `nni-wcnas search`'),
    'retrain': ('; make one with `nni-wcnas retrain`', 'restore it, or delete it and retrain again',
                'give the folder of a retraining, or make one with `nni-wcnas retrain`'),
}
"""Ends of the messages about a checkpoint that is missing, cut short, or of another kind, by kind of checkpoint."""


class CheckpointError(ValueError):
    """A checkpoint cannot be used; the message says which, why and what to do."""


def check_checkpoint(path: str | Path, kind: Literal['search', 'retrain'] = 'search') -> dict[str, Any]:
    """Load a checkpoint of a search (or a retraining) without executing pickled code.

    Parameters
    ----------
    path
        The file.
    kind
        The command that wrote the file: ``'search'`` or ``'retrain'``.

    Returns
    -------
    dict
        The content of the checkpoint, with tensors on the CPU.

    Raises
    ------
    CheckpointError
        When the file is missing, cut short or not a checkpoint of this kind.
    """
    path = Path(path)
    missing, short, foreign = _REMEDIES[kind]
    if not path.is_file():
        raise CheckpointError(f'{path}: there is no checkpoint{missing}')
    try:
        # Tensors and plain values only: a checkpoint may come from elsewhere, and pickle can run anything.
        content = torch.load(path, map_location='cpu', weights_only=True)
    # The ways in which torch's reader fails on a file that was cut short or is something else.
    except (RuntimeError, EOFError, LookupError, pickle.UnpicklingError, BadZipFile, ValueError, OSError) as error:
        raise CheckpointError(
            f'{path}: not a complete checkpoint ({type(error).__name__}), it was cut short or is another kind of '
            f'file; {short}'
        ) from error
    if not isinstance(content, dict) or not _KEYS[kind] <= content.keys():
        raise CheckpointError(f'{path}: not the checkpoint of a {kind}; {foreign}')
    return content
