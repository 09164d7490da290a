"""Views: what a network sees of its images, as a choice that a search can make.

Each hides one kind of cue from whatever follows (:mod:`nni_wcnas.data.shortcut` has data with such cues): a network
that sees the luminance cannot follow a hue, one that sees the centre no mark at the border, one that sees the image
less its own mean no overall brightness, one that sees means of 3x3 pixels no pattern that repeats every 3.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from nni_wcnas.errors import InvalidArgument

__all__ = ['VIEWS', 'VIEW_LABEL', 'VIEW_NOTES', 'Blurred', 'Cropped', 'Luminance', 'Normalised', 'check_views']

VIEW_LABEL = 'view'
"""Label of the choice of a view in a sample."""


class Luminance(nn.Module):
    """A view of the mean over channels, in all three of them."""

    def forward(self, images: Tensor) -> Tensor:
        """Map ``(N, 3, H, W)`` to the same shape."""
        # One channel shown three times, without a copy: later layers find the usual three.
        return images.mean(1, keepdim=True).expand_as(images)


class Cropped(nn.Module):
    """A view of the centre of images: a border of an eighth of the side is 0 all around."""

    def forward(self, images: Tensor) -> Tensor:
        """Map ``(N, 3, H, W)`` to the same shape."""
        hidden = images.shape[-1] // 8
        return F.pad(images[..., hidden:-hidden, hidden:-hidden], (hidden,) * 4)


class Normalised(nn.Module):
    """A view of the image less its mean, divided by its standard deviation, both over all pixels and channels."""

    def forward(self, images: Tensor) -> Tensor:
        """Map ``(N, 3, H, W)`` to the same shape."""
        centred = images - images.mean((1, 2, 3), keepdim=True)
        # The small number keeps an image of one colour finite.
        return centred / (centred.square().mean((1, 2, 3), keepdim=True) + 1e-6).sqrt()


class Blurred(nn.Module):
    """A view of means of 3x3 pixels; the outermost means are repeated, as zeros around would bring a pattern back."""

    def forward(self, images: Tensor) -> Tensor:
        """Map ``(N, 3, H, W)`` to the same shape."""
        # Without padding the pool leaves out the border, which the outermost means then fill.
        return F.pad(F.avg_pool2d(images, 3, stride=1), (1,) * 4, mode='replicate')


VIEWS: dict[str, type[nn.Module]] = {
    'raw': nn.Identity, 'luminance': Luminance, 'cropped': Cropped, 'normalised': Normalised, 'blurred': Blurred,
}
"""The views by name: each class makes a module that maps images to a view of the same shape."""
VIEW_NOTES = {
    'raw': 'the images as they are, with their colours', 'luminance': 'their brightness alone, without colours',
    'cropped': 'their centre, without the border', 'normalised': 'the images less their own mean, at equal contrast',
    'blurred': 'means of 3x3 pixels',
}
"""What each view leaves of an image, for the reader of a page."""


def check_views(views: Sequence[str]) -> None:
    """Refuse names that are no choice among views.

    Raises
    ------
    ValueError
        If a view is unknown, stands twice, or is the only one.
    """
    unknown = [view for view in views if view not in VIEWS]
    if unknown:
        raise InvalidArgument('views', unknown[0], f'hold only {", ".join(VIEWS)}')
    if len(set(views)) != len(views) or len(views) < 2:
        raise InvalidArgument('views', list(views), 'be at least two different ones to choose from')
