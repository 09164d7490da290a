"""Bilinear interpolation between pixels, differentiable any number of times in images and positions.

``torch.nn.functional.grid_sample`` has no second derivative in torch 2.5 and earlier (pytorch/pytorch issue 34704); R1
and exact hypergradients need one.
"""

from __future__ import annotations

from torch import Tensor

__all__ = ['interpolated']


def interpolated(images: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Return the colours at positions between pixels; outside of the image, the colours of its nearest point.

    Parameters
    ----------
    images
        Shape ``(N, C, H, W)``.
    x, y
        Columns and rows in pixels, shape ``(N, P)``; the centre of the first pixel is 0.

    Returns
    -------
    The colours, shape ``(N, C, P)``; they have kinks at the pixels' centres.
    """
    channels, height, width = images.shape[1:]
    (left, right), (top, low) = _split(x, width), _split(y, height)
    flat = images.flatten(2)  # (N, C, HW)

    def at(row: Tensor, column: Tensor) -> Tensor:
        """Return the colours of whole pixels, shape ``(N, C, P)``."""
        # The clamp is for left + 1 and top + 1 at the last pixel, whose share is 0 there.
        index = row.clamp(max=height - 1) * width + column.clamp(max=width - 1)
        return flat.gather(2, index[:, None].expand(-1, channels, -1))  # One index for all channels of an image.

    # Linear along rows, then along columns. Gathers and products have derivatives of any order.
    upper, lower = (at(row, left) * (1 - right) + at(row, left + 1) * right for row in (top, top + 1))
    return upper * (1 - low) + lower * low


def _split(position: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Return the whole pixel before a position, shape ``(N, P)``, and the share of the next one, ``(N, 1, P)``."""
    # The clamp repeats the edge, and cuts the gradient of positions outside.
    position = position.clamp(0, side - 1)
    # floor has no gradient, so the share moves with the position at rate 1.
    whole = position.detach().floor()
    return whole.long(), (position - whole)[:, None]
