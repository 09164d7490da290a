"""A run's files for TensorBoard: the scalars of ``metrics.csv`` and the grids of generated images, by epoch.

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
    """Writer of TensorBoard's event files in a run's folder ``tensorboard``.

    Parameters
    ----------
    run
        The run that gives the folder, and the grids that it holds already.
    """

    def __init__(self, run: RunDirectory) -> None:
        self.run = run
        self._writer: SummaryWriter | None = None

    def begin(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Write all rows so far into a new file, in the place of what an interrupted search has left."""
        self.close()
        for left in self.run.tensorboard.glob('events.out.tfevents.*'):
            left.unlink()
        # The step tells a TensorBoard that is watching to forget what it has read from there on: everything.
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
            if name != 'epoch':  # It is the step of all the others.
                self._writer.add_scalar(name, value, epoch)
        # The recorder writes the grid before the row, so it is there if this epoch has one.
        grid = self.run.generated().get(epoch)
        if grid is not None:
            with Image.open(grid) as image:  # (H, W, 3), bytes.
                self._writer.add_image('generated', np.asarray(image), epoch, dataformats='HWC')
        self._writer.flush()  # So that a TensorBoard that is watching shows the epoch now.

    def close(self) -> None:
        """Close the event file, if one is open; :meth:`begin` may open another."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
