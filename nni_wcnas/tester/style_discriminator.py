"""StyleGAN2's discriminator in its plain form, without skips, behind an augmentation of what it sees.

The trunk sees one image at a time and no label, so that an auxiliary model can share it. The head comes after it: it
compares the images of a batch, and knows the classes.

Deviation: the score is a linear one plus the product with an embedding of the class, which takes the place of a mapping
network.

References
----------
Karras et al., Analyzing and Improving the Image Quality of StyleGAN, CVPR 2020, section 4.1; Miyato and Koyama, cGANs
with Projection Discriminator, 2018.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from nni_wcnas.functional.minibatch_deviation import minibatch_deviation
from nni_wcnas.tester.adaptive_augmentation import AdaptiveAugmentation, Draws
from nni_wcnas.tester.equalised import EqualisedConv2d, EqualisedLinear, activated
from nni_wcnas.tester.resampling import Blurred
from nni_wcnas.tester.style_generator import channels_at, sides

__all__ = ['StyleDiscriminator', 'StyleHead', 'StyleTrunk']


class StyleTrunk(nn.Module):
    """The part below the head: two convolutions for each side, the second of which halves it, down to 4 pixels.

    Parameters
    ----------
    image_size
        Side of the image: 4 times a power of two.
    width
        Channels of every layer up to 64 pixels.
    """

    def __init__(self, image_size: int, width: int):
        super().__init__()
        # Channels from the largest side to the smallest; the 1x1 convolution maps the three colours to the first.
        wide = [channels_at(side, width) for side in reversed(sides(image_size))]
        # One 1x1 convolution, then at each side a 3x3 convolution and one that blurs and halves: 32 -> 16 -> 8 -> 4.
        layers: list[nn.Module] = [EqualisedConv2d(3, wide[0], 1)]
        for before, after in zip(wide, wide[1:]):
            layers += [EqualisedConv2d(before, before, 3),
                       nn.Sequential(Blurred(), EqualisedConv2d(before, after, 3, halves=True))]
        self.layers = nn.ModuleList(layers)
        # Features are maps of 4 x 4 pixels in one row, so that their number is 16 width.
        self.shape = (width, sides(image_size)[0], sides(image_size)[0])
        self.width = math.prod(self.shape)

    def forward(self, images: Tensor) -> Tensor:
        """Map images ``(N, 3, H, W)`` in [-1, 1] to features ``(N, self.width)``."""
        features = images
        for layer in self.layers:
            features = activated(layer(features))
        return features.flatten(1)


class StyleHead(nn.Module):
    """The head: maps features to scores, with one more channel that tells how much the images of the batch differ.

    Parameters
    ----------
    num_classes
        Number of classes.
    shape
        Channels, height and width of the feature maps that a row of features consists of.
    """

    def __init__(self, num_classes: int, shape: tuple[int, int, int]):
        super().__init__()
        self.shape, channels = shape, shape[0]
        self.convolution = EqualisedConv2d(channels + 1, channels, 3)
        self.linear = EqualisedLinear(math.prod(shape), channels)
        self.score = EqualisedLinear(channels, 1)
        # By classes, and only here: the trunk below knows none.
        self.embedding = nn.Embedding(num_classes, channels)
        self.scale = 1 / math.sqrt(channels)

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """Map features ``(N, F)`` and labels ``(N,)`` to scores ``(N,)``, higher is more real."""
        maps = features.unflatten(1, self.shape)  # (N, C, 4, 4)
        # With the deviation (N, C + 1, 4, 4). A generator that makes one image only gives itself away by it.
        maps = activated(self.convolution(torch.cat([maps, minibatch_deviation(maps)], dim=1)))
        hidden = activated(self.linear(maps.flatten(1)))
        # score(h) + <embedding(y), h> / sqrt(C), the projection head with an equalised embedding.
        return self.score(hidden).squeeze(1) + self.scale * (self.embedding(labels) * hidden).sum(dim=1)


class StyleDiscriminator(nn.Module):
    """StyleGAN2's discriminator: augmentation, trunk and head.

    Parameters
    ----------
    num_classes
        Number of classes.
    image_size, width
        See :class:`StyleTrunk`.
    augmentation
        Random changes that images pass before the trunk sees them.
    """

    steps: Tensor
    """Number of its own steps so far, a scalar of dtype int64; R1 is added on every 16th."""

    def __init__(self, num_classes: int, image_size: int, width: int, augmentation: AdaptiveAugmentation):
        super().__init__()
        self.augmentation = augmentation
        self.trunk = StyleTrunk(image_size, width)
        self.head = StyleHead(num_classes, self.trunk.shape)
        self.register_buffer('steps', torch.zeros((), dtype=torch.int64))
        self._known_steps: int | None = None

    @property
    def known_steps(self) -> int:
        """The value of :attr:`steps`, read once: each reading would make the processor wait for a GPU."""
        if self._known_steps is None:
            self._known_steps = int(self.steps.item())
        return self._known_steps

    @torch.no_grad()
    def count_step(self) -> None:
        """Count one of its own steps."""
        self.steps.add_(1)
        if self._known_steps is not None:
            self._known_steps += 1

    def _load_from_state_dict(self, *arguments: Any, **named: Any) -> None:
        """Load the buffers as torch does; the number of steps is then read anew."""
        super()._load_from_state_dict(*arguments, **named)
        self._known_steps = None

    def forward(self, images: Tensor, labels: Tensor, draws: Draws | None = None) -> Tensor:
        """Return scores ``(N,)`` of images ``(N, 3, H, W)`` in [-1, 1], changed by ``draws``, under labels ``(N,)``."""
        if draws is not None:
            images = self.augmentation(images, draws)
        return self.head(self.trunk(images), labels)
