"""Sixteen common corruptions of images of any size, each by a severity in [0, 1] that has a derivative.

A severity s means the value s times the largest one; 0 leaves an image as it is. Where the benchmark has such a number
and twice its fifth level exists, 1/2 is CIFAR-10-C's fifth level. A contrast that falls by 0.85 cannot fall by twice as
much, so its value is the logarithm of the fall: severity s leaves exp(-3.79 s) of the contrast, which is 0.15 at 1/2.
Lengths are in shares of an image's side, so that images of all sizes are changed alike.
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
"""Side of the grid of random numbers that fog and rubber sheets are made from."""


class Chance(NamedTuple):
    """All random numbers of the corruptions, with a row for each image; each corruption uses the part that it needs."""

    normal: Tensor
    """Standard normal numbers for noise, shape ``(N, 3, H, W)``."""
    uniform: Tensor
    """Uniform numbers in [0, 1) for impulse noise and glass, shape ``(N, 3, H, W)``."""
    coarse: Tensor
    """Standard normal numbers on a coarse grid for fog and rubber sheets, shape ``(N, 2, 4, 4)``."""
    turn: Tensor
    """Uniform numbers in [0, 1) for a direction or a sign, shape ``(N,)``."""


def drawn_chance(images: Tensor) -> Chance:
    """Draw the random numbers for images ``(N, 3, H, W)``, from torch's global random state."""
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
    """Largest value: that at severity 1."""
    change: Callable[[Tensor, Tensor, Chance], Tensor]
    """The change itself: a function of images ``(N, 3, H, W)``, values ``(N,)`` and chance. It may leave [0, 1]."""
    is_length: bool = False
    """Whether ``most`` is in shares of an image's side; :attr:`change` gets pixels."""
    has_gradient: bool = True
    """Whether the changed images have a derivative by the value; without one it is taken to be 1."""

    def __call__(self, images: Tensor, severity: Tensor, chance: Chance) -> Tensor:
        """Spoil images by severities in [0, 1] of shape ``(N,)``; return pixels in [0, 1], shape ``(N, 3, H, W)``."""
        value = severity * self.most * (images.shape[-1] if self.is_length else 1)
        if self.has_gradient:
            return self.change(images, value, chance).clamp(0, 1)
        # Straight-through: the last term is exactly 0 with derivative 1. It is added after the clamp, which would cut
        # the derivative of clipped pixels.
        changed = self.change(images, value.detach(), chance).clamp(0, 1)
        return changed + (severity - severity.detach()).view(-1, 1, 1, 1)


def _defocus_blur(images: Tensor, radius: Tensor, chance: Chance) -> Tensor:
    """Blur as a lens out of focus does."""
    del chance  # Unused: nothing is random.
    return blur.defocus_blur(images, radius, _DISK * images.shape[-1])


def _motion_blur(images: Tensor, length: Tensor, chance: Chance) -> Tensor:
    """Smear along a line within 45 degrees of horizontal."""
    return blur.motion_blur(images, length, (chance.turn - 0.5) * (math.pi / 2), _LINE * images.shape[-1])


def _elastic(images: Tensor, reach: Tensor, chance: Chance) -> Tensor:
    """Distort like a rubber sheet, by a smooth random field of displacements."""
    return displaced(images, reach, smooth_field(chance.coarse, images.shape[-2:]))


def _fog(images: Tensor, share: Tensor, chance: Chance) -> Tensor:
    """Lay a light cloud over images, which hides a share of what is behind it."""
    # A share s hides: x + s (cloud - x), with cloud between 1/2 and 1.
    cloud = (1 + smooth_field(chance.coarse[:, :1], images.shape[-2:]).sigmoid()) / 2
    return images + share.view(-1, 1, 1, 1) * (cloud - images)


def _saturate(images: Tensor, change: Tensor, chance: Chance) -> Tensor:
    """Make colours less or more saturated, each with probability 1/2."""
    # Factors 1 - change and 1 + change; at severity 1 the former is grey.
    return tone.colour(images, 1 + change * torch.where(chance.turn < 0.5, -1.0, 1.0))


_DISK, _LINE = 3 / 32, 10 / 32
"""Largest radius of defocus and length of motion, in shares of an image's side; they fix the size of the kernels."""

# Lengths are written as pixels of an image of 32, the size of CIFAR-10-C's images.
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
    Corruption('contrast', -2 * math.log(0.15), lambda x, value, c: tone.contrast(x, (-value).exp())),
    Corruption('elastic_transform', 3 / 32, _elastic, is_length=True),
    Corruption('pixelate', 0.7, lambda x, value, c: pixelate(x, value), has_gradient=False),
    Corruption('jpeg_compression', 2.5, lambda x, value, c: jpeg(x, value), has_gradient=False),
    Corruption('saturate', 1.0, _saturate),
)
"""The sixteen corruptions. Their values are the deviation or the share of noise, the length of blurs and displacements,
the last magnification of zoom less 1, the share that fog hides, what brightness adds, minus the logarithm
of the factor of contrast, how the factor of saturation differs from 1, the share of pixels that is lost, and the steps
of JPEG."""


def corrupted(images: Tensor, kinds: Sequence[int], severity: Tensor, chance: Chance) -> Tensor:
    """Spoil each image by one corruption.

    Parameters
    ----------
    images
        Pixels in [0, 1], shape ``(N, 3, H, W)``.
    kinds
        The corruption of each image, as a position in ``CORRUPTIONS``.
    severity
        Severity of each image's corruption, in [0, 1], shape ``(N,)``.
    chance
        Random numbers of these images, as :func:`drawn_chance` draws them.

    Returns
    -------
    The spoilt images, pixels in [0, 1], shape ``(N, 3, H, W)``.
    """
    # Images of one kind go through their corruption together.
    return by_kind(
        kinds, lambda kind, x, s, *rows: CORRUPTIONS[kind](x, s, Chance(*rows)), images, severity, *chance
    )
