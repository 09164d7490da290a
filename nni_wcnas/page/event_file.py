"""A run for TensorBoard: the scalars of ``metrics.csv`` and the grids of generated images, by epoch.

A search that goes on writes everything anew from its history, so that no epoch is there twice and none is missing,
wherever it was interrupted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

from nni_wcnas.files.run_directory import RunDirectory

__all__ = ['EventFile']


class EventFile:
    """Writes event files into the run's folder ``tensorboard``.

    Parameters
    ----------
    run
        Gives the folder, and the grids that it holds already.
    """

    def __init__(self, run: RunDirectory) -> None:
        self.run = run
        self._writer: SummaryWriter | None = None

    def begin(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Write all rows so far, in the place of what an interrupted search has left."""
        self.close()
        for left in self.run.tensorboard.glob('events.out.tfevents.*'):
            left.unlink()
        # The step makes a TensorBoard that is watching forget what it has read.
        self._writer = SummaryWriter(str(self.run.tensorboard), purge_step=0)
        for row in rows:
            self.add(row)

    def add(self, row: Mapping[str, float]) -> None:
        """Write one epoch, with the grid of generated images if the run has it.

        Parameters
        ----------
        row
            Numbers by column; the ``epoch`` is the step.
        """
        if self._writer is None:
            raise RuntimeError('There is no event file yet; call begin(rows) first.')
        epoch = int(row['epoch'])
        for name, value in row.items():
            if name != 'epoch':
                self._writer.add_scalar(name, value, epoch)
        grid = self.run.generated().get(epoch)
        if grid is not None:
            with Image.open(grid) as image:
                self._writer.add_image('generated', np.asarray(image), epoch, dataformats='HWC')
        self._writer.flush()

    def close(self) -> None:
        """Write no more."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
