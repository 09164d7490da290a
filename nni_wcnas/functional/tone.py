"""Changes of an image's colours, pixel by pixel; all but the hue as PIL's ``ImageOps`` and ``ImageEnhance`` do them.

Images have pixels in [0, 1] and shape ``(N, 3, H, W)``. What PIL decides by an 8-bit level is decided by the
nearest one here. Steps have no derivative: where one is needed, that of the pixels is taken to be 1 (straight-through).
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
    return torch.where(is_flat, images, (images - lowest) / torch.where(is_flat, 1.0, highest - lowest))


def invert(images: Tensor) -> Tensor:
    """1 - x."""
    return 1 - images


def equalize(images: Tensor) -> Tensor:
    """Make the histogram of each channel flat; straight-through."""
    return _straight_through(images, enhance.equalize(_levels(images) / 255))


def solarize(images: Tensor, threshold: Tensor) -> Tensor:
    """Invert the pixels from an 8-bit level on; ``threshold`` of shape ``(N,)``, in [0, 256]."""
    return torch.where(_levels(images) < _each(threshold), images, 1 - images)


def posterize(images: Tensor, bits: Tensor) -> Tensor:
    """Keep the high bits of each level; ``bits`` of shape ``(N,)``, in [0, 8], rounded down; straight-through."""
    step = 2 ** (8 - _each(bits.detach()).floor())
    return _straight_through(images, (_levels(images) / step).floor() * step / 255)


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with the mean grey of each image, which has factor 0; ``factor`` of shape ``(N,)``."""
    return enhance.adjust_contrast_with_mean_subtraction(images, factor)


def colour(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with the grey image, which has factor 0; ``factor`` of shape ``(N,)``."""
    return enhance.adjust_saturation_with_gray_subtraction(images, factor)


def hue(images: Tensor, degrees: Tensor) -> Tensor:
    """Turn colours around the grey axis, which keeps the mean over channels; ``degrees`` of shape ``(N,)``.

    A linear map has a derivative everywhere, where the hue of the HSV cone has none at grey. Rodrigues' rotation around
    (1, 1, 1) / sqrt(3); colours that leave the cube are clipped to it.
    """
    angle = degrees.view(-1, 1, 1) * (math.pi / 180)
    one, three = torch.eye(3).to(images), torch.full((3, 3), 1 / 3).to(images)
    cross = torch.tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]]).to(images) / math.sqrt(3)
    turned = (three + angle.cos() * (one - three) + angle.sin() * cross) @ images.flatten(2)  # (N, 3, HW)
    return turned.view_as(images).clamp(0, 1)


def brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with black, which has factor 0; ``factor`` of shape ``(N,)``."""
    return enhance.adjust_brightness_accumulative(images, factor)


def sharpness(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with the smoothed image, which has factor 0 and the border of the image; ``factor`` of shape ``(N,)``."""
    return enhance.sharpness(images, factor)


def _levels(images: Tensor) -> Tensor:
    """The nearest of 256 levels, without gradient."""
    return (255 * images.detach()).round()


def _straight_through(images: Tensor, changed: Tensor) -> Tensor:
    """``changed``, with the derivative of ``images``; to the bit."""
    return changed.detach() + (images - images.detach())


def _each(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)
