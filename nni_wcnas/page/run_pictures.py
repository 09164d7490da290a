"""The pictures of a run: the cells that it found, and the tester's images by epoch."""

from __future__ import annotations

from torch import Tensor

from nni_wcnas.files.run_directory import RunDirectory
from nni_wcnas.page.drawing import draw_cell, draw_grid
from nni_wcnas.spaces.architecture import Architecture

__all__ = ['write_architecture', 'write_generated']


def write_architecture(run: RunDirectory, architecture: Architecture) -> None:
    """Write ``architecture.json`` of a run, and the drawings of the architecture's cells if it has any."""
    run.write_architecture(architecture)
    for name, cell in architecture.genotype().items():
        outputs = architecture.outputs(name)
        draw_cell(cell, run.cell(name), inputs=architecture.num_inputs, outputs=outputs)


def write_generated(run: RunDirectory, epoch: int, images: Tensor, labels: Tensor, columns: int = 10) -> None:
    """Write the grid of the tester's images after one epoch.

    Parameters
    ----------
    run
        The run to write to.
    epoch
        Number of the epoch; 0 is before the search.
    images
        In [-1, 1], shape ``(N, 3, H, W)``.
    labels
        Shape ``(N,)``; a row of the grid is a class.
    columns
        Largest number of images in a row.
    """
    draw_grid(images, labels, run.grid(epoch), columns)
