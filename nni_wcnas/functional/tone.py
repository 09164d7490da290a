"""Changes of an image's tones and colours; all but the hue as PIL's ``ImageOps`` and ``ImageEnhance`` make them.

Images have pixels in [0, 1] and shape ``(N, 3, H, W)``. Where PIL decides by an 8-bit level, the nearest level decides
here. Steps have no derivative: where one is needed, that of the pixels is taken to be 1 (straight-through).
"""

from __future__ import annotations

import math

import torch
from kornia import enhance
from torch import Tensor

__all__ = ['auto_contrast', 'brightness', 'colour', 'contrast', 'equalize', 'hue', 'invert', 'posterize', 'sharpness',
           'solarize']


def auto_contrast(images: Tensor) -> Tensor:
    """Stretch each channel of each image to [0, 1]; a channel of one colour stays."""
    lowest, highest = images.amin((2, 3), True), images.amax((2, 3), True)
    is_flat = _levels(highest) == _levels(lowest)
    # The inner where keeps 0 / 0 out of the branch that is thrown away: its NaN would reach the gradient of the other
    # one.
    return torch.where(is_flat, images, (images - lowest) / torch.where(is_flat, 1.0, highest - lowest))


def invert(images: Tensor) -> Tensor:
    """Return the negative of images, 1 - x."""
    return 1 - images


def equalize(images: Tensor) -> Tensor:
    """Make the histogram of each channel of each image flat; straight-through."""
    # kornia rounds down to a level, so pixels are put on their nearest one before.
    return _straight_through(images, enhance.equalize(_levels(images) / 255))


def solarize(images: Tensor, threshold: Tensor) -> Tensor:
    """Invert the pixels at or above an 8-bit level; ``threshold`` has shape ``(N,)`` and is in [0, 256]."""
    return torch.where(_levels(images) < _each(threshold), images, 1 - images)


def posterize(images: Tensor, bits: Tensor) -> Tensor:
    """Keep the highest bits of each level; ``bits`` of shape ``(N,)``, in [0, 8], rounded down; straight-through."""
    # All levels that agree in their highest bits become the lowest of them.
    step = 2 ** (8 - _each(bits.detach()).floor())
    return _straight_through(images, (_levels(images) / step).floor() * step / 255)


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Blend images with their mean grey, which factor 0 gives and 1 leaves out; ``factor`` of shape ``(N,)``."""
    return enhance.adjust_contrast_with_mean_subtraction(images, factor)


def colour(images: Tensor, factor: Tensor) -> Tensor:
    """Blend images with their grey version, which factor 0 gives and 1 leaves out; ``factor`` of shape ``(N,)``."""
    return enhance.adjust_saturation_with_gray_subtraction(images, factor)


def hue(images: Tensor, degrees: Tensor) -> Tensor:
    """Turn colours around the grey axis, which keeps the mean over channels; ``degrees`` of shape ``(N,)``.

    This is Rodrigues' rotation around (1, 1, 1) / sqrt(3); colours that leave the cube are clipped to it. A linear map
    has a derivative everywhere, while the hue of the HSV cone has none at grey.
    """
    angle = degrees.view(-1, 1, 1) * (math.pi / 180)
    # R = n n^T + cos(angle) (I - n n^T) + sin(angle) [n]x for the unit vector n of the grey axis: n n^T has entries of
    # 1/3, and [n]x is the matrix of the cross product with n.
    one, three = torch.eye(3).to(images), torch.full((3, 3), 1 / 3).to(images)
    cross = torch.tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]]).to(images) / math.sqrt(3)
    turned = (three + angle.cos() * (one - three) + angle.sin() * cross) @ images.flatten(2)  # (N, 3, HW)
    return turned.view_as(images).clamp(0, 1)


def brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Blend images with black, which factor 0 gives and 1 leaves out; ``factor`` of shape ``(N,)``."""
    return enhance.adjust_brightness_accumulative(images, factor)


def sharpness(images: Tensor, factor: Tensor) -> Tensor:
    """Blend images with their smoothed version, which factor 0 gives and 1 leaves out; ``factor`` of shape ``(N,)``.

    The border of an image is not smoothed.
    """
    return enhance.sharpness(images, factor)


def _levels(images: Tensor) -> Tensor:
    """Return the nearest of 256 levels of each pixel, from 0 to 255, without gradient."""
    return (255 * images.detach()).round()


def _straight_through(images: Tensor, changed: Tensor) -> Tensor:
    """Return ``changed``, exact to the bit, with the derivative of ``images``."""
    # The bracket is exactly 0, where (changed - images) + images would round.
    return changed.detach() + (images - images.detach())


def _each(values: Tensor) -> Tensor:
    """Give a value for each image the shape ``(N, 1, 1, 1)``."""
    return values.view(-1, 1, 1, 1)
