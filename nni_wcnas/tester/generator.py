"""The generator: class-conditional BigGAN in its CIFAR form, without shared embedding or hierarchical latents.

References
----------
Brock et al., Large Scale GAN Training for High Fidelity Natural Image Synthesis, 2019, appendix B; Zhao et al., Feature
Quantization Improves GAN Training, 2020.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ['BASE_SIZE', 'ConditionalBatchNorm', 'Generator', 'UpBlock', 'count_blocks', 'draw_weights']

BASE_SIZE = 4
"""Side, in pixels, of the first feature map, to which the latent is mapped."""


class ConditionalBatchNorm(nn.Module):
    """Batch norm whose gain 1 + g(y) and bias b(y) are looked up by class: how the label enters the generator.

    Parameters
    ----------
    channels
        Channels of the input.
    num_classes
        Number of classes.
    """

    def __init__(self, channels: int, num_classes: int):
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.gain = nn.Embedding(num_classes, channels)
        self.bias = nn.Embedding(num_classes, channels)
        # At first the norm is a plain one, whatever the class.
        nn.init.zeros_(self.gain.weight)
        nn.init.zeros_(self.bias.weight)

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """Normalise features of shape ``(N, C, H, W)`` for labels of shape ``(N,)``."""
        gain = 1 + self.gain(labels)[:, :, None, None]  # (N, C, 1, 1)
        # b(y) + (1 + g(y)) * norm(x)
        return torch.addcmul(self.bias(labels)[:, :, None, None], gain, self.norm(features))


class UpBlock(nn.Module):
    """Residual block that doubles the side: two times norm, ReLU and convolution, nearest up-sampling before the first
    convolution.

    Parameters
    ----------
    channels
        Channels of input and output.
    make_norm
        Builds a norm: a module that maps features and a condition, such as labels, to normalised features.
    """

    def __init__(self, channels: int, make_norm: Callable[[], nn.Module]):
        super().__init__()
        self.norm1 = make_norm()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm2 = make_norm()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.shortcut = nn.Conv2d(channels, channels, 1)

    def forward(self, features: Tensor, condition: Tensor) -> Tensor:
        """Map ``(N, C, H, W)`` to ``(N, C, 2H, 2W)``; both norms are told the condition, such as labels ``(N,)``."""
        hidden = self.conv1(_doubled(self.norm1(features, condition).relu()))
        hidden = self.conv2(self.norm2(hidden, condition).relu())
        # The shortcut is convolved first: a 1x1 convolution and nearest up-sampling commute, and this order is four
        # times cheaper than the published one.
        return hidden + _doubled(self.shortcut(features))


class Generator(nn.Module):
    """BigGAN's generator: maps a latent and a label to an image in [-1, 1].

    Parameters
    ----------
    num_classes
        Number of classes.
    image_size
        Side of the image: 4 times a power of two.
    width
        Channels of every block.
    latent
        Entries of the latent vector.
    """

    def __init__(self, num_classes: int, image_size: int, width: int, latent: int):
        super().__init__()
        self.width = width
        self.linear = nn.Linear(latent, width * BASE_SIZE ** 2)
        self.blocks = nn.ModuleList(UpBlock(width, lambda: ConditionalBatchNorm(width, num_classes))
                                    for _ in range(count_blocks(image_size)))
        self.norm = nn.BatchNorm2d(width)
        self.to_image = nn.Conv2d(width, 3, 3, padding=1)
        draw_weights(self)

    def forward(self, latent: Tensor, labels: Tensor) -> Tensor:
        """Map latents ``(N, latent)`` and labels ``(N,)`` to images ``(N, 3, image_size, image_size)``."""
        features = self.linear(latent).view(-1, self.width, BASE_SIZE, BASE_SIZE)  # (N, width, 4, 4)
        for block in self.blocks:
            features = block(features, labels)
        # (N, width, image_size, image_size); the last norm knows no class.
        return self.to_image(self.norm(features).relu()).tanh()


def count_blocks(image_size: int) -> int:
    """Return how often the side is doubled from 4 pixels to ``image_size``: the base-2 logarithm of their ratio."""
    return (image_size // BASE_SIZE).bit_length() - 1


def draw_weights(module: nn.Module) -> None:
    """Draw the entries of all matrices and kernels from a normal distribution of deviation 0.02, as BigGAN starts."""
    for child in module.modules():
        if isinstance(child, nn.Linear | nn.Conv2d):
            nn.init.normal_(child.weight, std=0.02)  # Biases keep torch's start.


def _doubled(features: Tensor) -> Tensor:
    """Double the side by nearest up-sampling: ``(N, C, H, W)`` to ``(N, C, 2H, 2W)``."""
    return F.interpolate(features, scale_factor=2, mode='nearest')
