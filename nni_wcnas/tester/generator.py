"""The generator: class-conditional BigGAN in its CIFAR form, without shared embedding and without hierarchical latents.

References
----------
Brock et al., Large Scale GAN Training for High Fidelity Natural Image Synthesis, 2019, appendix B; Zhao et al., Feature
Quantization Improves GAN Training, 2020. Deviation: no spectral normalisation in the generator, so that one look-ahead
step is a plain SGD step on its weights.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ['ConditionalBatchNorm', 'Generator', 'UpBlock']

_BASE_SIZE = 4
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
    num_classes
        Number of classes.
    """

    def __init__(self, channels: int, num_classes: int):
        super().__init__()
        self.norm1 = ConditionalBatchNorm(channels, num_classes)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm2 = ConditionalBatchNorm(channels, num_classes)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.shortcut = nn.Conv2d(channels, channels, 1)

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """Map ``(N, C, H, W)`` to ``(N, C, 2H, 2W)``."""
        hidden = self.conv1(_doubled(self.norm1(features, labels).relu()))
        hidden = self.conv2(self.norm2(hidden, labels).relu())
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
        self.linear = nn.Linear(latent, width * _BASE_SIZE ** 2)
        num_blocks = (image_size // _BASE_SIZE).bit_length() - 1
        self.blocks = nn.ModuleList(UpBlock(width, num_classes) for _ in range(num_blocks))
        self.norm = nn.BatchNorm2d(width)
        self.to_image = nn.Conv2d(width, 3, 3, padding=1)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                nn.init.normal_(module.weight, std=0.02)

    def forward(self, latent: Tensor, labels: Tensor) -> Tensor:
        """Map latents ``(N, latent)`` and labels ``(N,)`` to images ``(N, 3, image_size, image_size)``."""
        features = self.linear(latent).view(-1, self.width, _BASE_SIZE, _BASE_SIZE)
        for block in self.blocks:
            features = block(features, labels)
        return self.to_image(self.norm(features).relu()).tanh()


def _doubled(features: Tensor) -> Tensor:
    """Nearest up-sampling by two."""
    return F.interpolate(features, scale_factor=2, mode='nearest')
