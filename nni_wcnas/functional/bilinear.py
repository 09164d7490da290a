"""Bilinear interpolation between pixels, differentiable any number of times in images and positions.

``torch.nn.functional.grid_sample`` has no second derivative in torch 2.5 and earlier (pytorch/pytorch issue 34704); R1
and exact hypergradients need one.
"""

from __future__ import annotations

from torch import Tensor

__all__ = ['interpolated']


def interpolated(images: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Colours at positions between the pixels, those of the nearest pixel outside of the image.

    Parameters
    ----------
    images
        Shape ``(N, C, H, W)``.
    x, y
        Columns and rows in pixels, shape ``(N, P)``; the centre of the first pixel is 0.

    Returns
    -------
    Shape ``(N, C, P)``; has kinks at the pixels' centres.
    """
    channels, height, width = images.shape[1:]
    (left, right), (top, low) = _split(x, width), _split(y, height)
    flat = images.flatten(2)

    def at(row: Tensor, column: Tensor) -> Tensor:
        index = row.clamp(max=height - 1) * width + column.clamp(max=width - 1)
        return flat.gather(2, index[:, None].expand(-1, channels, -1))

    upper, lower = (at(row, left) * (1 - right) + at(row, left + 1) * right for row in (top, top + 1))
    return upper * (1 - low) + lower * low


def _split(position: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """The whole pixel before a position, shape ``(N, P)``, and the share of the next one, ``(N, 1, P)``."""
    position = position.clamp(0, side - 1)
    whole = position.detach().floor()
    return whole.long(), (position - whole)[:, None]
