"""Real images for the testers that change them, and the base of testers that are all B, without a generator."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nni_wcnas.contracts import Auxiliary, Batch, Parameters, Tester
from nni_wcnas.errors import InvalidArgument
from nni_wcnas.tester import storage

__all__ = ['ImagePolicy', 'check_images', 'drawn_images']


def check_images(num_classes: int, image_size: int) -> None:
    """Raise ValueError if there can be no images with this many classes and pixels.

    Raises
    ------
    ValueError
        Naming the number and its limit.
    """
    if num_classes < 1:
        raise InvalidArgument('num_classes', num_classes, 'be at least 1')
    if image_size < 0 or 0 < image_size < 3:
        raise InvalidArgument('image_size', image_size, 'be at least 3 pixels, or 0 for any')


def drawn_images(tester: Tester, count: int, source: Batch | None) -> tuple[Tensor, Tensor]:
    """Draw clean images of ``source`` and their labels, each once before any comes again.

    Raises
    ------
    ValueError
        If there is no ``source`` with clean images of the tester's size.
    """
    kind = type(tester).__name__
    if source is None or source.clean is None or not len(source.clean):
        raise ValueError(f'{kind} changes real images, and there are none: give it a batch whose clean images are in '
                         '[-1, 1], as those of the data modules of nni_wcnas.data.')
    # Images are square: the last side tells their size.
    clean, size = source.clean, source.clean.shape[-1]
    if tester.image_size not in (0, size):
        raise ValueError(f'{kind} is for images of {tester.image_size} pixels, and these have {size}; use '
                         f'{kind}(image_size={size}).')
    # As many permutations as needed, cut off at count: an image comes again only after all others have come.
    rounds = -(-count // len(clean))
    rows = torch.cat([torch.randperm(len(clean), device=clean.device) for _ in range(rounds)])[:count]
    return clean.detach()[rows], source.labels[rows]


class ImagePolicy(Tester):
    """A tester without a generator, whose parameters are B: real images are changed by B directly.

    Pre-training beside it trains the auxiliary model, and its file serves as the policy's ``pretrained`` as well.

    Parameters
    ----------
    num_classes
        Number of classes of the real images.
    image_size
        Side of the real images, in pixels; 0 takes any.
    pretrained
        File that pre-training wrote beside such a policy: the state of the auxiliary model, which ``make_auxiliary``
        takes from it. The policy itself begins anew.

    Raises
    ------
    ValueError
        If a number is out of its range, or the file is damaged or was made beside another tester or for other images.
    """

    def __init__(self, num_classes: int, image_size: int, pretrained: str | Path | None):
        super().__init__()
        check_images(num_classes, image_size)
        self.num_classes, self.image_size, self.pretrained = num_classes, image_size, pretrained
        # Nothing is loaded here: the file is only checked, and make_auxiliary takes the auxiliary model from it.
        if pretrained is not None:
            contents = storage.read(pretrained)
            storage.refuse_other_kind(pretrained, contents, type(self).__name__)
            # An image_size of 0 takes any images, so that it asks nothing of a file.
            wanted = {name: value for name, value in self.pretraining_settings().items() if value}
            storage.refuse_other(pretrained, contents['settings'], wanted)

    @abstractmethod
    def rows(self) -> list[dict[str, Any]]:
        """Return what the policy has learned, strongest first, as plain values for a file."""

    def hyperparameters(self) -> Parameters:
        """B: all parameters of the policy, live and unconstrained."""
        return dict(self.named_parameters())

    def pretraining_settings(self) -> dict[str, Any]:
        """Return the arguments that pre-training beside the policy depends on, by name."""
        return {'num_classes': self.num_classes, 'image_size': self.image_size}

    def contents(self, auxiliary: Auxiliary | None = None) -> dict[str, Any]:
        """Return what a file of pre-training beside the policy holds."""
        return {'kind': type(self).__name__, 'settings': self.pretraining_settings(), 'tester': self.state_dict(),
                'auxiliary': auxiliary.state_dict() if auxiliary else None}
