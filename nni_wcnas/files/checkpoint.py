"""Reading checkpoints: a file that is not whole is refused in one sentence, and no pickled code is executed."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from nni_wcnas.tensor_file import TensorFileError, read_tensors

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
        content = read_tensors(path, short)
    except TensorFileError as error:
        raise CheckpointError(str(error)) from error
    if not isinstance(content, dict) or not _KEYS[kind] <= content.keys():
        raise CheckpointError(f'{path}: not the checkpoint of a {kind}; {foreign}')
    return content
