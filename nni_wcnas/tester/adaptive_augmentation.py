"""Adaptive discriminator augmentation: the discriminator sees images through as many random changes as it needs.

Real and generated images alike pass, each with probability p, flips, turns by 90 degrees, shifts, scalings, rotations
and changes of colour: one affine map of the plane and one of the colours for each image. p follows how sure the
discriminator is of the real images::

    r = mean sign S(real)        p <- p + sign(r - target) * images / speed, kept within [0, 1]

so that few real images cannot be learned by heart. As long as p is well below 1, the changes do not leak into the
generated images.

Cost: one interpolation and one product of colours for each image. The changes of colour are linear and cut nothing off,
so that a gradient reaches every pixel. The warps are our own, as those of kornia have no second derivative in older
torch, which R1 needs. Deviations: r is taken over one batch, where the paper takes four; the interpolation is bilinear,
without the paper's filters; no changes of frequencies, no noise and no cut-outs, which the paper found to help little.

References
----------
Karras et al., Training Generative Adversarial Networks with Limited Data, NeurIPS 2020, sections 2.2 and 3, appendix B.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from nni_wcnas.functional.warp import warped

__all__ = ['AdaptiveAugmentation', 'Draws']

_SHIFT = 0.125
"""Largest whole shift, and standard deviation of the fractional one, as a share of the side."""
_LOG_SCALE, _LOG_CONTRAST, _LOG_SATURATION = 0.2 * math.log(2), 0.5 * math.log(2), math.log(2)
"""Standard deviations of the logarithms of scale, contrast and saturation."""
_BRIGHTNESS = 0.2
"""Standard deviation of what is added to all colours, for images in [-1, 1]."""


class Draws(NamedTuple):
    """The random changes of N images, drawn once and applied as often as need be."""

    plane: Tensor
    """Maps from places in the result to places in the image, for :func:`~nni_wcnas.functional.warp.warped`, shape
    ``(N, 2, 3)``."""
    brightness: Tensor
    """Brightness that is added to all colours, shape ``(N,)``."""
    colours: Tensor
    """Matrices that the colours are multiplied by afterwards, shape ``(N, 3, 3)``."""


class AdaptiveAugmentation(nn.Module):
    """Random changes of images, and the adaptive probability p of each kind of change.

    Parameters
    ----------
    target
        Value at which the mean sign of the discriminator's scores of real images is held, below 1; None and 0 change
        nothing.
    speed
        Number of real images in which the probability can rise from 0 to 1.
    """

    probability: Tensor
    """p, a scalar in [0, 1]."""

    def __init__(self, target: float | None, speed: int):
        super().__init__()
        self.target, self.speed = target, speed
        self.register_buffer('probability', torch.zeros(()))

    def draw(self, count: int, side: int) -> Draws | None:
        """Draw changes for ``count`` images of ``side`` pixels, from torch's global random state; None if it is off."""
        if not self.target:
            return None
        return Draws(self._plane(count, side), self._maybe(_BRIGHTNESS * self._normal(count), 0.0),
                     self._colours(count))

    def forward(self, images: Tensor, draws: Draws) -> Tensor:
        """Change images ``(N, 3, H, W)``; differentiable in them any number of times."""
        # colours @ (image + brightness): the plane first, as colours do not depend on the place.
        images = warped(images, draws.plane) + draws.brightness[:, None, None, None]
        return torch.einsum('nij,njhw->nihw', draws.colours, images)

    @torch.no_grad()
    def adapt(self, scores: Tensor) -> None:
        """Move the probability p by what the discriminator said of N real images, scores ``(N,)``."""
        if self.target:
            # r, the mean sign, tends to 1 where the discriminator knows its real images by heart. On the device of the
            # scores throughout: the processor does not wait for a GPU.
            direction = (scores.sign().mean() - self.target).sign()
            self.probability.add_(direction * (len(scores) / self.speed)).clamp_(0, 1)

    def _plane(self, count: int, side: int) -> Tensor:
        """Return the maps from result to image, shape ``(N, 2, 3)``: the product of the inverse changes."""
        # An image is changed by T_n ... T_1; the map back is T_1^-1 ... T_n^-1, the first change first. Each change is
        # drawn as its own inverse, which has the same distribution.
        turn = 1 - (1 - self.probability).sqrt()  # Two rotations, so that one happens with probability p.
        mirror = self._maybe(1 - 2 * self._integer(count, 2), 1.0)
        # Places run from -1 to 1 over the side, so that a pixel is 2 / side, and a whole side is 2.
        quarter = self._maybe(self._integer(count, 4), 0.0) * (math.pi / 2)
        whole = self._maybe((side * _SHIFT * self._uniform(count, 2)).round() * (2 / side), 0.0)
        scale = self._maybe((_LOG_SCALE * self._normal(count)).exp(), 1.0)
        first = self._maybe(math.pi * self._uniform(count), 0.0, turn)
        stretch = self._maybe((_LOG_SCALE * self._normal(count)).exp(), 1.0)
        second = self._maybe(math.pi * self._uniform(count), 0.0, turn)
        shift = self._maybe(2 * _SHIFT * self._normal(count, 2), 0.0)
        # Mirror, quarter turn, shift by whole pixels; then scale, rotation, stretch, rotation, fractional shift, which
        # need interpolation. A rotation on both sides of the stretch gives it any direction.
        product = _scaling(mirror, torch.ones_like(mirror)) @ _rotation(quarter) @ _translation(whole)
        product = product @ _scaling(scale, scale) @ _rotation(first) @ _scaling(stretch, 1 / stretch)
        return (product @ _rotation(second) @ _translation(shift))[:, :2]  # Homogeneous (N, 3, 3) -> (N, 2, 3).

    def _colours(self, count: int) -> Tensor:
        """Return the product of the changes of colour, ``(N, 3, 3)``, the last one first: saturation to contrast."""
        contrast = self._maybe((_LOG_CONTRAST * self._normal(count)).exp(), 1.0)
        flip = self._maybe(self._integer(count, 2), 0.0)
        hue = self._maybe(math.pi * self._uniform(count), 0.0)
        saturation = self._maybe((_LOG_SATURATION * self._normal(count)).exp(), 1.0)
        # The order of action is contrast, luma flip, hue, saturation. The axis of grey is v = (1, 1, 1) / sqrt(3), and
        # luma = v v^T projects a colour on it.
        identity = torch.eye(3, device=hue.device, dtype=hue.dtype)
        luma = torch.full_like(identity, 1 / 3)
        turned = (identity.roll(-1, dims=1) - identity.roll(1, dims=1)) / math.sqrt(3)  # The axis cross a colour.
        # (N,) -> (N, 1, 1) beside matrices (3, 3). The luma flip I - 2 v v^T turns v around; saturation keeps the part
        # along v and scales the rest.
        contrast, flip, hue, saturation = (value[:, None, None] for value in (contrast, flip, hue, saturation))
        flips = identity - 2 * flip * luma
        hues = hue.cos() * identity + (1 - hue.cos()) * luma + hue.sin() * turned  # Rodrigues' formula.
        saturations = luma + saturation * (identity - luma)
        return saturations @ hues @ flips * contrast

    def _maybe(self, values: Tensor, neutral: float, probability: Tensor | None = None) -> Tensor:
        """Keep each row with a probability, p by default, and put the neutral value in the place of the others."""
        chosen = torch.rand(len(values), device=values.device) < (self.probability if probability is None
                                                                  else probability)
        # chosen is (N,), values are (N, ...). Draws never depend on p, so that a p of 0 uses up as many as a p of 1.
        return torch.where(chosen.view(-1, *[1] * (values.ndim - 1)), values, values.new_full((), neutral))

    def _normal(self, *shape: int) -> Tensor:
        """Draw standard normal numbers, on the device of the probability."""
        return torch.randn(shape, device=self.probability.device, dtype=self.probability.dtype)

    def _uniform(self, *shape: int) -> Tensor:
        """Draw uniform numbers in [-1, 1)."""
        return 2 * torch.rand(shape, device=self.probability.device, dtype=self.probability.dtype) - 1

    def _integer(self, count: int, below: int) -> Tensor:
        """Draw ``count`` of the integers 0 to ``below`` - 1, as floating-point numbers."""
        return torch.randint(below, (count,), device=self.probability.device).to(self.probability.dtype)


def _scaling(x: Tensor, y: Tensor) -> Tensor:
    """Return homogeneous matrices ``(N, 3, 3)`` that scale by factors x and y, each ``(N,)``."""
    return torch.diag_embed(torch.stack([x, y, torch.ones_like(x)], dim=1))


def _rotation(angle: Tensor) -> Tensor:
    """Return homogeneous matrices ``(N, 3, 3)`` that rotate by angles ``(N,)`` in radians."""
    zero, one, cosine, sine = torch.zeros_like(angle), torch.ones_like(angle), angle.cos(), angle.sin()
    rows = ((cosine, -sine, zero), (sine, cosine, zero), (zero, zero, one))
    return torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)


def _translation(by: Tensor) -> Tensor:
    """Return homogeneous matrices ``(N, 3, 3)`` that translate by shifts ``(N, 2)``."""
    matrices = torch.eye(3, device=by.device, dtype=by.dtype).repeat(len(by), 1, 1)
    matrices[:, :2, 2] = by
    return matrices
