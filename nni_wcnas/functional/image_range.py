"""The three ranges of images, and the ways between them.

==========  =================  =================================================================================
range       values             where
==========  =================  =================================================================================
signed      [-1, 1], float     a batch's ``clean``, and all that generators make (the range of tanh)
unit        [0, 1], float      attacks and image operations, where 0 is black and a radius is given in 255ths
bytes       0 to 255, uint8    stores of images, pictures
==========  =================  =================================================================================

A fourth, normalised by mean and deviation of the data, is the learner's own: see ``renormalise`` of its view.
"""

from __future__ import annotations

from torch import Tensor

__all__ = ['bytes_to_signed', 'signed_to_bytes', 'signed_to_unit', 'unit_to_signed']


def signed_to_unit(images: Tensor) -> Tensor:
    """Map images from [-1, 1] to [0, 1]; differentiable.

    Examples
    --------
    >>> import torch
    >>> signed_to_unit(torch.tensor([-1.0, 0.0, 1.0]))
    tensor([0.0000, 0.5000, 1.0000])
    """
    return (images + 1) / 2


def unit_to_signed(pixels: Tensor) -> Tensor:
    """Map images from [0, 1] to [-1, 1]; differentiable.

    Examples
    --------
    >>> import torch
    >>> unit_to_signed(torch.tensor([0.0, 0.5, 1.0]))
    tensor([-1.,  0.,  1.])
    """
    return 2 * pixels - 1


def bytes_to_signed(pixels: Tensor) -> Tensor:
    """Map bytes, 0 to 255, to floating-point images in [-1, 1].

    Examples
    --------
    >>> import torch
    >>> bytes_to_signed(torch.tensor([0, 255], dtype=torch.uint8))
    tensor([-1.,  1.])
    """
    return pixels.float().div_(127.5).sub_(1)


def signed_to_bytes(images: Tensor) -> Tensor:
    """Map images from [-1, 1] to the nearest bytes; what lies beyond is clamped.

    Examples
    --------
    >>> import torch
    >>> signed_to_bytes(torch.tensor([-1.0, 0.999, 1.5]))
    tensor([  0, 255, 255], dtype=torch.uint8)
    """
    # byte() cuts fractions off and wraps around beyond 255, so values are rounded and clamped first.
    return (images * 127.5 + 127.5).round().clamp(0, 255).byte()
