"""Lightning's checkpoints, written whole or not at all."""

from __future__ import annotations

import os
from typing import Any

from pytorch_lightning.plugins.io import TorchCheckpointIO

from nni_wcnas.tensor_file import write_tensors

__all__ = ['AtomicCheckpointIO']


class AtomicCheckpointIO(TorchCheckpointIO):
    """Plugin of Lightning's ``Trainer`` that writes checkpoints atomically, wherever they lie.

    Lightning itself writes to the folder of temporary files and then moves the file. Where a run lies on another file
    system, moving is copying, and a kill meanwhile leaves half a checkpoint in place of the last one.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | os.PathLike[str],
                        storage_options: Any | None = None) -> None:
        """Write a checkpoint.

        Parameters
        ----------
        checkpoint
            What Lightning saves of the trainer, the module and the callbacks.
        path
            The file.
        storage_options
            Options of remote file systems; there are none for files on a disk.

        Raises
        ------
        TypeError
            If there are options.
        OSError
            If the file cannot be written; the checkpoint of the epoch before stays.
        """
        if storage_options is not None:
            raise TypeError('storage_options are for remote file systems, and checkpoints are files on a disk: leave '
                            'them out')
        write_tensors(path, checkpoint)
