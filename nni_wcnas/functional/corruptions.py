"""Sixteen common corruptions of images of any size, each by a severity in [0, 1] that has a derivative.

A severity s means the value s times the largest one; 0 leaves an image as it is, and 1/2, where there is such a number,
is CIFAR-10-C's fifth level: lengths are in shares of an image's side, so that images of all sizes are changed alike.
Impulse noise, big pixels and JPEG are steps: there the derivative of every pixel by s is taken to be 1
(straight-through), as for the operations of an augmentation policy.

Deviations from the benchmark: photons are counted by the normal approximation; motion smears evenly to both sides;
glass moves each pixel once, without blur; fog and rubber sheets are smooth surfaces over 4 x 4 random numbers; colours
are scaled around grey, up or down. Snow, frost and spatter are left out: their pictures have no strength to follow.

References
----------
Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations", ICLR 2019,
section 4.1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from nni_wcnas.functional import blur, pixel_noise, tone
from nni_wcnas.functional.by_kind import by_kind
from nni_wcnas.functional.compression import jpeg, pixelate
from nni_wcnas.functional.displacement import displaced, smooth_field, zoom_blur

__all__ = ['CORRUPTIONS', 'Chance', 'Corruption', 'corrupted', 'drawn_chance']

_GRID = 4


class Chance(NamedTuple):
    """All that is random in corruptions; a row for each image."""

    normal: Tensor
    """Standard normal, shape ``(N, 3, H, W)``."""
    uniform: Tensor
    """In [0, 1), shape ``(N, 3, H, W)``."""
    coarse: Tensor
    """Standard normal, shape ``(N, 2, 4, 4)``."""
    turn: Tensor
    """In [0, 1), shape ``(N,)``."""


def drawn_chance(images: Tensor) -> Chance:
    """Draw for images ``(N, 3, H, W)``, from torch's global random state."""
    return Chance(
        torch.randn_like(images),
        torch.rand_like(images),
        torch.randn(len(images), 2, _GRID, _GRID, device=images.device, dtype=images.dtype),
        torch.rand(len(images), device=images.device, dtype=images.dtype),
    )


@dataclass(frozen=True)
class Corruption:
    """One way to spoil images, whose pixels are in [0, 1]."""

    name: str
    most: float
    """The value at severity 1."""
    change: Callable[[Tensor, Tensor, Chance], Tensor]
    """Of images ``(N, 3, H, W)``, values ``(N,)`` and chance; what leaves [0, 1] is clipped afterwards."""
    is_length: bool = False
    """Whether the value is in shares of an image's side; it is told in pixels."""
    has_gradient: bool = True
    """By the value."""

    def __call__(self, images: Tensor, severity: Tensor, chance: Chance) -> Tensor:
        """Spoil images by severities in [0, 1], shape ``(N,)``; pixels in [0, 1], shape ``(N, 3, H, W)``."""
        value = severity * self.most * (images.shape[-1] if self.is_length else 1)
        if self.has_gradient:
            return self.change(images, value, chance).clamp(0, 1)
        changed = self.change(images, value.detach(), chance).clamp(0, 1)
        return changed + (severity - severity.detach()).view(-1, 1, 1, 1)


def _defocus_blur(images: Tensor, radius: Tensor, chance: Chance) -> Tensor:
    del chance  # Unused: nothing is random.
    return blur.defocus_blur(images, radius, _DISK * images.shape[-1])


def _motion_blur(images: Tensor, length: Tensor, chance: Chance) -> Tensor:
    """Within 45 degrees of horizontal."""
    return blur.motion_blur(images, length, (chance.turn - 0.5) * (math.pi / 2), _LINE * images.shape[-1])


def _elastic(images: Tensor, reach: Tensor, chance: Chance) -> Tensor:
    return displaced(images, reach, smooth_field(chance.coarse, images.shape[-2:]))


def _fog(images: Tensor, share: Tensor, chance: Chance) -> Tensor:
    """A light cloud that hides a share of what is behind it."""
    cloud = (1 + smooth_field(chance.coarse[:, :1], images.shape[-2:]).sigmoid()) / 2
    return images + share.view(-1, 1, 1, 1) * (cloud - images)


def _saturate(images: Tensor, change: Tensor, chance: Chance) -> Tensor:
    """Less or more, with the same chance."""
    return tone.colour(images, 1 + change * torch.where(chance.turn < 0.5, -1.0, 1.0))


_DISK, _LINE = 3 / 32, 10 / 32
"""Largest radius and length."""

CORRUPTIONS: tuple[Corruption, ...] = (
    Corruption('gaussian_noise', 0.2, lambda x, value, c: pixel_noise.gaussian_noise(x, value, c.normal)),
    Corruption('shot_noise', 0.28, lambda x, value, c: pixel_noise.shot_noise(x, value, c.normal)),
    Corruption('impulse_noise', 0.14, lambda x, value, c: pixel_noise.impulse_noise(x, value, c.uniform),
               has_gradient=False),
    Corruption('speckle_noise', 0.4, lambda x, value, c: pixel_noise.speckle_noise(x, value, c.normal)),
    Corruption('defocus_blur', _DISK, _defocus_blur, is_length=True),
    Corruption('glass_blur', 3 / 32, lambda x, value, c: displaced(x, value, 2 * c.uniform[:, :2] - 1),
               is_length=True),
    Corruption('motion_blur', _LINE, _motion_blur, is_length=True),
    Corruption('zoom_blur', 0.52, lambda x, value, c: zoom_blur(x, value)),
    Corruption('gaussian_blur', 2 / 32, lambda x, value, c: blur.gaussian_blur(x, value), is_length=True),
    Corruption('fog', 0.9, _fog),
    Corruption('brightness', 0.6, lambda x, value, c: x + value.view(-1, 1, 1, 1)),
    Corruption('contrast', 0.95, lambda x, value, c: tone.contrast(x, 1 - value)),
    Corruption('elastic_transform', 3 / 32, _elastic, is_length=True),
    Corruption('pixelate', 0.7, lambda x, value, c: pixelate(x, value), has_gradient=False),
    Corruption('jpeg_compression', 2.5, lambda x, value, c: jpeg(x, value), has_gradient=False),
    Corruption('saturate', 1.0, _saturate),
)
"""Noise by its deviation or share, blurs and displacements by lengths, zoom by its last magnification less 1, fog by
what it hides, brightness by what is added, contrast and saturation by how their factor differs from 1, pixels by the
share that is lost, JPEG by its steps."""


def corrupted(images: Tensor, kinds: Sequence[int], severity: Tensor, chance: Chance) -> Tensor:
    """Spoil each image in one way.

    Parameters
    ----------
    images
        Pixels in [0, 1], shape ``(N, 3, H, W)``.
    kinds
        Position in ``CORRUPTIONS`` for each image.
    severity
        In [0, 1], shape ``(N,)``.
    chance
        Of these images.
    """
    return by_kind(
        kinds, lambda kind, x, s, *rows: CORRUPTIONS[kind](x, s, Chance(*rows)), images, severity, *chance
    )
