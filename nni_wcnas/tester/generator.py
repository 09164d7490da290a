"""The generator: class-conditional BigGAN in its CIFAR form, without shared embedding and without hierarchical latents.

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
"""Side of the feature map that the latent is mapped to."""


class ConditionalBatchNorm(nn.Module):
    """Batch norm whose gain 1 + g(y) and bias b(y) are looked up by class.

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
        nn.init.zeros_(self.gain.weight)
        nn.init.zeros_(self.bias.weight)

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """Normalise features of shape ``(N, C, H, W)`` for labels of shape ``(N,)``."""
        gain = 1 + self.gain(labels)[:, :, None, None]  # (N, C, 1, 1)
        return torch.addcmul(self.bias(labels)[:, :, None, None], gain, self.norm(features))


class UpBlock(nn.Module):
    """Residual block that doubles the side: two times norm, ReLU and convolution, nearest up-sampling before the first
    convolution.

    Parameters
    ----------
    channels
        Channels of input and output.
    make_norm
        Makes a norm, a function of features and their condition.
    """

    def __init__(self, channels: int, make_norm: Callable[[], nn.Module]):
        super().__init__()
        self.norm1 = make_norm()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm2 = make_norm()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.shortcut = nn.Conv2d(channels, channels, 1)

    def forward(self, features: Tensor, condition: Tensor) -> Tensor:
        """Map ``(N, C, H, W)`` to ``(N, C, 2H, 2W)``; the condition is the norms', such as labels ``(N,)``."""
        hidden = self.conv1(_doubled(self.norm1(features, condition).relu()))
        hidden = self.conv2(self.norm2(hidden, condition).relu())
        # A 1x1 convolution and nearest up-sampling commute; this order is four times cheaper.
        return hidden + _doubled(self.shortcut(features))


class Generator(nn.Module):
    """Latent and label to an image in [-1, 1].

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
        features = self.linear(latent).view(-1, self.width, BASE_SIZE, BASE_SIZE)
        for block in self.blocks:
            features = block(features, labels)
        return self.to_image(self.norm(features).relu()).tanh()


def count_blocks(image_size: int) -> int:
    """How often the side is doubled."""
    return (image_size // BASE_SIZE).bit_length() - 1


def draw_weights(module: nn.Module) -> None:
    """BigGAN's start: entries of all matrices and kernels are normal with standard deviation 0.02."""
    for child in module.modules():
        if isinstance(child, nn.Linear | nn.Conv2d):
            nn.init.normal_(child.weight, std=0.02)


def _doubled(features: Tensor) -> Tensor:
    """Nearest up-sampling by two."""
    return F.interpolate(features, scale_factor=2, mode='nearest')
