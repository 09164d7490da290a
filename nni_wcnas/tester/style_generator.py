"""StyleGAN2's generator: a mapped latent, the style, scales the kernels of every layer; images add up over the sides.

::

    w = mapping(latent, class)
    features = a learned constant of 4 pixels; image = 0
    for each side 4, 8, ..., image_size:
        features = two styled convolutions (one at 4), the first of which doubles the side, each with a noise map
        image = doubled(image) + to_image(features, w)
    result = tanh(image)

The noise maps are part of the latent tensor, so that images are a function of it: its first ``latent`` entries are the
latent proper, the others one standard normal number for each pixel of each layer.

Deviations: images end in tanh, as testers' images are in [-1, 1]; up-sampling comes before the convolution, where the
paper has it within (the two commute but at the edges); no style mixing, no path-length regularisation, no truncation.

References
----------
Karras et al., Analyzing and Improving the Image Quality of StyleGAN, CVPR 2020, sections 2.2 and 4.1; Karras et al.,
Training Generative Adversarial Networks with Limited Data, NeurIPS 2020, appendix D: two mapping layers for CIFAR-10.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from nni_wcnas.functional.modulation import modulated_convolution
from nni_wcnas.tester.equalised import EqualisedLinear, activated
from nni_wcnas.tester.resampling import Doubled

__all__ = ['Mapping', 'StyleGenerator', 'channels_at', 'sides']

_BASE_SIZE = 4
"""Side, in pixels, of the learned constant, and of the discriminator's last feature map."""

_MAPPING_RATE = 0.01
"""Learning rate of the mapping, as a multiple of the others'."""


def sides(image_size: int) -> list[int]:
    """Return the sides of the feature maps, from small to large: 4, 8, ..., ``image_size``."""
    return [_BASE_SIZE << level for level in range((image_size // _BASE_SIZE).bit_length())]


def channels_at(side: int, width: int) -> int:
    """Return the channels of feature maps of a side: ``width`` up to 64 pixels, then inversely proportional to it.

    For ``width=512`` these are the published numbers: 32768 / side, at most 512.
    """
    return min(width, max(64 * width // side, 1))


class Mapping(nn.Module):
    """The mapping network: latent and class, each normalised to unit second moment, through two layers to a style.

    Parameters
    ----------
    num_classes
        Number of classes.
    latent
        Entries of the latent, of the class's embedding and of the style.
    """

    def __init__(self, num_classes: int, latent: int):
        super().__init__()
        self.embedding = nn.Embedding(num_classes, latent)
        self.layers = nn.ModuleList(EqualisedLinear(size, latent, rate=_MAPPING_RATE) for size in (2 * latent, latent))

    def forward(self, latent: Tensor, labels: Tensor) -> Tensor:
        """Map latents ``(N, latent)`` and labels ``(N,)`` to styles w of shape ``(N, latent)``."""
        features = torch.cat([_normalised(latent), _normalised(self.embedding(labels))], dim=1)  # (N, 2 latent)
        for layer in self.layers:
            features = activated(layer(features))
        return features


class StyledConvolution(nn.Module):
    """One layer of the generator: modulated convolution, a noise map of learned strength, bias and activation.

    Parameters
    ----------
    in_channels, out_channels
        Channels of input and output.
    latent
        Entries of a style.
    doubles
        Whether to double the side first.
    """

    def __init__(self, in_channels: int, out_channels: int, latent: int, *, doubles: bool):
        super().__init__()
        self.resample = Doubled() if doubles else nn.Identity()
        # Scales start around 1. The kernel needs no factor of its own: demodulation divides each filter by its norm.
        self.affine = EqualisedLinear(latent, in_channels, bias=1.0)
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 3, 3))
        # The noise map is without effect until its strength is learned.
        self.strength = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(out_channels, 1, 1))

    def forward(self, features: Tensor, style: Tensor, noise: Tensor) -> Tensor:
        """Map ``(N, in, H, W)`` for styles ``(N, latent)`` to ``(N, out, H', W')``, with noise ``(N, H' W')``."""
        features = modulated_convolution(self.resample(features), self.weight, self.affine(style))
        # One noise map for all channels: (N, H' W') -> (N, 1, H', W').
        return activated(features + self.strength * noise.view(len(noise), 1, *features.shape[2:]) + self.bias)


class ToImage(nn.Module):
    """The image that the features of one side contribute: a modulated 1x1 convolution to three colours.

    Parameters
    ----------
    channels
        Channels of the input.
    latent
        Entries of a style.
    """

    def __init__(self, channels: int, latent: int):
        super().__init__()
        self.affine = EqualisedLinear(latent, channels, bias=1.0)
        self.weight = nn.Parameter(torch.randn(3, channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(3, 1, 1))
        self.scale = 1 / math.sqrt(channels)

    def forward(self, features: Tensor, style: Tensor) -> Tensor:
        """Map ``(N, C, H, W)`` for styles ``(N, latent)`` to ``(N, 3, H, W)``."""
        # Without demodulation the sum over C channels would grow with C; 1 / sqrt(C) keeps its variance.
        styles = self.scale * self.affine(style)
        return modulated_convolution(features, self.weight, styles, demodulates=False) + self.bias


class StyleGenerator(nn.Module):
    """StyleGAN2's generator: maps a latent, noise maps and a label to an image in [-1, 1].

    Parameters
    ----------
    num_classes
        Number of classes.
    image_size
        Side of the image: 4 times a power of two.
    width
        Channels of every layer up to 64 pixels.
    latent
        Entries of the latent proper.
    """

    def __init__(self, num_classes: int, image_size: int, width: int, latent: int):
        super().__init__()
        self.mapping = Mapping(num_classes, latent)
        self.constant = nn.Parameter(torch.randn(width, _BASE_SIZE, _BASE_SIZE))
        self.layers, self.to_images, channels = nn.ModuleList(), nn.ModuleList(), width
        # Entries of the parts of the latent tensor: the latent proper, then a noise map for each of ``layers``.
        self.sizes = [latent]
        for side in sides(image_size):
            wide = channels_at(side, width)
            if side > _BASE_SIZE:
                self.layers.append(StyledConvolution(channels, wide, latent, doubles=True))
            self.layers.append(StyledConvolution(wide, wide, latent, doubles=False))
            self.to_images.append(ToImage(wide, latent))
            self.sizes += [side ** 2] * (1 if side == _BASE_SIZE else 2)
            channels = wide
        self.doubled = Doubled()

    @property
    def inputs(self) -> int:
        """Number of entries of the latent tensor, noise maps included."""
        return sum(self.sizes)

    def forward(self, latent: Tensor, labels: Tensor) -> Tensor:
        """Map latents ``(N, inputs)`` and labels ``(N,)`` to images ``(N, 3, image_size, image_size)``."""
        # (N, latent), and (N, side^2) for each layer: one layer at 4 pixels, two at every other side.
        latent, *noises = latent.split(self.sizes, dim=1)
        style = self.mapping(latent, labels)
        features = self.layers[0](self.constant.expand(len(style), -1, -1, -1), style, noises[0])
        image = self.to_images[0](features, style)
        # Layers 2 level + 1, which doubles the side, and 2 level + 2, which keeps it, work at the side 8 * 2^level.
        for level, to_image in enumerate(self.to_images[1:]):
            for index in (2 * level + 1, 2 * level + 2):
                features = self.layers[index](features, style, noises[index])
            # Skip connections, section 4.1: images add up in place of residual features.
            image = self.doubled(image) + to_image(features, style)
        return image.tanh()


def _normalised(features: Tensor) -> Tensor:
    """Scale rows ``(N, F)`` to unit second moment."""
    return features * (features.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()
