"""The discriminator: residual blocks with spectral normalisation, and a projection head.

References
----------
Miyato et al., Spectral Normalization for Generative Adversarial Networks, 2018; Miyato and Koyama, cGANs with
Projection Discriminator, 2018; Brock et al., Large Scale GAN Training for High Fidelity Natural Image Synthesis, 2019,
appendix B.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

__all__ = ['Discriminator', 'DownBlock', 'Projection', 'Trunk', 'down_blocks', 'pooled']

_LAST_SIZE = 8
"""Side, in pixels, of the feature maps at which down-sampling stops."""


class DownBlock(nn.Module):
    """Residual block of two convolutions, optionally halving the side by average pooling.

    Parameters
    ----------
    in_channels, out_channels
        Channels of input and output.
    halve
        Whether to halve the side.
    first
        Whether the block sees the image itself. It then has no ReLU before its first convolution, and its shortcut
        pools before it convolves.
    """

    def __init__(self, in_channels: int, out_channels: int, *, halve: bool, first: bool = False):
        super().__init__()
        self.halve = halve
        self.first = first
        self.conv1 = spectral_norm(nn.Conv2d(in_channels, out_channels, 3, padding=1))
        self.conv2 = spectral_norm(nn.Conv2d(out_channels, out_channels, 3, padding=1))
        # As published, the shortcut is learned wherever the block changes the shape, though pooling would not need it.
        learned = halve or in_channels != out_channels
        self.shortcut = spectral_norm(nn.Conv2d(in_channels, out_channels, 1)) if learned else nn.Identity()

    def forward(self, features: Tensor) -> Tensor:
        """Map ``(N, in, H, W)`` to ``(N, out, H, W)`` or, where the block halves, ``(N, out, H/2, W/2)``."""
        hidden = self.convolved(features)
        if not self.halve:
            return hidden + self.shortcut(features)
        # A 1x1 convolution and average pooling commute, so that the order changes the cost alone.
        if self.first:
            return F.avg_pool2d(hidden, 2) + self.shortcut(F.avg_pool2d(features, 2))
        return F.avg_pool2d(hidden + self.shortcut(features), 2)

    def convolved(self, features: Tensor) -> Tensor:
        """Return the residual branch before pooling: ``(N, in, H, W)`` to ``(N, out, H, W)``."""
        # Out of place: the shortcut needs the features as they were.
        return self.conv2(self.conv1(features if self.first else features.relu()).relu())


def down_blocks(image_size: int, width: int) -> nn.ModuleList:
    """Build the blocks that halve ``image_size`` (8 times a power of two) down to 8 pixels, and two more blocks."""
    # For 32 pixels: 32 -> 16 -> 8 -> 8 -> 8, the four blocks of the published CIFAR networks.
    num_halving = (image_size // _LAST_SIZE).bit_length() - 1
    blocks = [DownBlock(3, width, halve=True, first=True)]
    blocks += [DownBlock(width, width, halve=index < num_halving) for index in range(1, num_halving + 2)]
    return nn.ModuleList(blocks)


class Trunk(nn.Module):
    """The part of a discriminator below its heads: :func:`down_blocks`, ReLU, and a sum over the pixels.

    Parameters
    ----------
    image_size
        Side of the image: 8 times a power of two.
    width
        Channels of every block.
    """

    def __init__(self, image_size: int, width: int):
        super().__init__()
        self.width = width
        self.blocks = down_blocks(image_size, width)

    def forward(self, images: Tensor) -> Tensor:
        """Map images ``(N, 3, H, W)`` in [-1, 1] to features ``(N, width)``."""
        features = images
        for block in self.blocks:
            features = block(features)
        return pooled(features)


class Projection(nn.Module):
    """The projection head: score = linear(features) + <embedding(label), features>.

    Parameters
    ----------
    num_classes
        Number of classes.
    width
        Number of features.
    """

    def __init__(self, num_classes: int, width: int):
        super().__init__()
        self.linear = spectral_norm(nn.Linear(width, 1))
        # As a matrix (classes, width), whose largest singular value the spectral norm divides by.
        self.embedding = spectral_norm(nn.Embedding(num_classes, width))

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """Map features ``(N, width)`` and labels ``(N,)`` to scores ``(N,)``, higher is more real."""
        return self.linear(features).squeeze(1) + (self.embedding(labels) * features).sum(dim=1)


class Discriminator(nn.Module):
    """A discriminator of images and labels: a trunk and a projection head.

    Parameters
    ----------
    trunk
        Maps images to features ``(N, width)``.
    width
        Number of features.
    num_classes
        Number of classes.
    """

    def __init__(self, trunk: nn.Module, width: int, num_classes: int):
        super().__init__()
        self.trunk = trunk
        self.head = Projection(num_classes, width)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return scores ``(N,)`` of images ``(N, 3, H, W)`` in [-1, 1] under labels ``(N,)``."""
        return self.head(self.trunk(images), labels)


def pooled(features: Tensor) -> Tensor:
    """Apply ReLU and sum over the pixels: ``(N, C, H, W)`` to ``(N, C)``."""
    # A sum, not a mean, as in the published networks.
    return features.relu().sum(dim=(2, 3))
