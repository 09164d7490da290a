"""A plain convolutional network whose only choice is what it sees of its images: known ground for a search.

    view of the image - convolution 3x3 - two convolutions 3x3 of stride 2 - mean over pixels - linear

Each view (:mod:`nni_wcnas.spaces.views`) has a first convolution of its own; all have batch norm, and a rectifier
before the next. On images with a cue that gives the label away (:mod:`nni_wcnas.data.shortcut`) the right choice is the
view that cannot see the cue, and a search on digits takes seconds. :class:`~nni_wcnas.spaces.darts.DARTS` has the same
choice in front of its cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nni.mutable import Sample
from nni.nas.nn.pytorch import LayerChoice, ModelSpace, model_context
from torch import Tensor, nn

from nni_wcnas.errors import InvalidArgument
from nni_wcnas.spaces.stem import build_stem
from nni_wcnas.spaces.views import VIEW_LABEL, VIEWS, check_views

__all__ = ['ViewNetwork']


class ViewNetwork(ModelSpace):
    """A model space with one choice: the view that a small convolutional network has of its images.

    Parameters
    ----------
    width
        Number of channels of the first convolution; the others have twice as many.
    num_classes
        Number of classes, the size of the output.
    views
        The views to choose from, by name in :data:`~nni_wcnas.spaces.views.VIEWS`.

    Raises
    ------
    ValueError
        If a view is unknown, there are fewer than two, or a number is too small.

    Examples
    --------
    >>> ViewNetwork(views=('raw', 'blurred')).simplify()
    {'view': Categorical(['raw', 'blurred'], label='view')}
    """

    def __init__(self, width: int = 16, num_classes: int = 10, views: Sequence[str] = tuple(VIEWS)) -> None:
        super().__init__()
        check_views(views)
        if width < 1:
            raise InvalidArgument('width', width, 'be at least 1')
        if num_classes < 2:
            raise InvalidArgument('num_classes', num_classes, 'be at least 2')
        self._arguments: dict[str, Any] = {'width': width, 'num_classes': num_classes, 'views': tuple(views)}
        # The view and its first convolution are one candidate: shared, the convolution would learn for the mixture of
        # views.
        self.stem = LayerChoice({view: build_stem('cifar', width, view)[0] for view in views}, label=VIEW_LABEL)
        self.body = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.Conv2d(2 * width, 2 * width, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        self.classifier = nn.Linear(2 * width, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits of shape ``(N, num_classes)`` for images of shape ``(N, 3, H, W)``."""
        return self.classifier(self.body(self.stem(images)))

    def freeze(self, sample: Sample) -> ViewNetwork:
        """Return the network of one view, built anew with fresh weights."""
        # Within the context NNI's choice builds the view that the sample says.
        with model_context(sample):
            return ViewNetwork(**self._arguments)
