"""ContraGAN as a tester: a GAN whose discriminator learns classes by comparing the images of a batch.

The discriminator's score knows no classes; a conditional contrastive loss, 2C, does: it pulls an image's embedding
towards its class and the other images of it, and away from all others. Two hyper-parameters, B, shape what the
generator learns: that loss's weight and its temperature, both of which the worst-case search learns as plain parameters
without constraint, ``weight = softplus(b1)`` and ``temperature = softplus(b2)``::

    L_dg(G, B)  =  -mean S(G(z, y))   +  weight * 2C(G(z, y), y; temperature)
    L_S         =  hinge(real, fake)  +  weight * 2C(real, labels; temperature)

What all GANs share, and when they act, is in :mod:`nni_wcnas.tester.gan`; 2C in
:mod:`nni_wcnas.functional.contrastive`. Its cost, N^2 products of embeddings, is small beside the networks'.

Published sizes for CIFAR-10, as StudioGAN trains it: ``ContraGAN(10, width=256)``. 2C needs batches in which classes
repeat: of 100 classes, a batch of 64 has few pairs. Deviations: the generator is the one of the other kinds, without
spectral normalisation.

References
----------
Kang and Park, ContraGAN: Contrastive Learning for Conditional Image Generation, NeurIPS 2020, equations 8 to 10 and
algorithm 1.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from nni_wcnas.contracts import Losses, Parameters
from nni_wcnas.functional.frozen import frozen_statistics
from nni_wcnas.functional.gan_losses import discriminator_hinge, generator_hinge
from nni_wcnas.tester.contrastive_discriminator import ContrastiveDiscriminator
from nni_wcnas.tester.gan import GAN, PretrainingRecipe
from nni_wcnas.tester.gan_arguments import COMMON, check_common
from nni_wcnas.tester.generator import Generator

__all__ = ['ContraGAN']

_STRUCTURE = ('num_classes', 'image_size', 'width', 'latent', 'embedding_size')


class ContraGAN(GAN):
    """Generator, its moving average, discriminator with class proxies, and the two hyper-parameters.

    Parameters
    ----------
    num_classes
        Number of classes.
    image_size
        Side of the images: 16, 32, 64 or 128.
    width
        Channels of every block of both networks; 256 is the published size.
    latent
        Entries of the latent vector.
    embedding_size
        Entries of the embedding that images and classes are compared in.
    weight
        Initial weight of the contrastive loss, positive.
    temperature
        Initial temperature of the contrastive loss, positive.
    learns
        What B is: ``'meta'``, weight and temperature, or ``'discriminator'``, the discriminator's parameters.
    generator_lr, generator_momentum, generator_weight_decay, generator_gradient_clip_val, min_lr, discriminator_lr,
    ema_decay, ema_start, pretrained
        As in :class:`~nni_wcnas.tester.FQGAN`; Adam's betas are (0.5, 0.999).

    Raises
    ------
    ValueError
        If a value is out of its range, or the pre-trained file is damaged or was made for another kind or structure.

    Examples
    --------
    >>> tester = ContraGAN(10, image_size=16, width=8)
    >>> tester.generate(tester.noise(4)).shape
    torch.Size([4, 3, 16, 16])
    """

    recipe = PretrainingRecipe(betas=(0.5, 0.999), discriminator_steps=5)
    discriminator: ContrastiveDiscriminator

    def __init__(self, num_classes: int, *, image_size: int = 32, width: int = 64, latent: int = 128,
                 embedding_size: int = 512, weight: float = 1.0, temperature: float = 1.0,
                 learns: Literal['meta', 'discriminator'] = 'meta',
                 generator_lr: float = 0.001, generator_momentum: float = 0.9, generator_weight_decay: float = 3e-4,
                 generator_gradient_clip_val: float | None = None, min_lr: float = 1e-4,
                 discriminator_lr: float = 2e-4, ema_decay: float = 0.9, ema_start: int = 100,
                 pretrained: str | Path | None = None):
        given = locals()
        settings = {name: given[name] for name in (*_STRUCTURE, 'weight', 'temperature', 'learns', *COMMON)}
        _check(settings)
        super().__init__(Generator(num_classes, image_size, width, latent),
                         ContrastiveDiscriminator(num_classes, image_size, width, embedding_size),
                         settings, _STRUCTURE, pretrained)
        self.b1 = nn.Parameter(_unconstrained(weight))
        self.b2 = nn.Parameter(_unconstrained(temperature))
        if pretrained is not None:
            self.load(pretrained)

    def meta(self) -> Parameters:
        """The live, unconstrained ``b1`` and ``b2``."""
        return {'b1': self.b1, 'b2': self.b2}

    def meta_values(self) -> dict[str, float]:
        """Weight and temperature of the contrastive loss."""
        weight, temperature = _physical(self.meta())
        return {'weight': weight.item(), 'temperature': temperature.item()}

    @torch.no_grad()
    def realism(self, images: Tensor, labels: Tensor) -> Tensor:
        """The hinge's scores, which know no classes."""
        with frozen_statistics(self.discriminator):
            return self.discriminator(images, labels).scores

    def discriminator_loss(self, real: Tensor, labels: Tensor, fake: Tensor,
                           fake_labels: Tensor) -> tuple[Tensor, Losses, None]:
        """Hinge loss on real and fake images, contrastive loss on real ones."""
        weight, temperature = (value.detach() for value in _physical(self.meta()))
        judgement = self.discriminator(torch.cat([real, fake]), torch.cat([labels, fake_labels]))
        contrast = judgement.first(len(real)).contrast(temperature)
        loss = discriminator_hinge(*judgement.scores.chunk(2)) + weight * contrast
        return loss, {'contrast': contrast.detach()}, None

    def generator_loss(self, images: Tensor, labels: Tensor, discriminator: Parameters, meta: Parameters,
                       statistics: None = None) -> tuple[Tensor, None]:
        """Hinge and contrastive loss of generated images."""
        del statistics  # Unused: the loss holds none fixed.
        weight, temperature = _physical(meta)
        judgement = functional_call(self.discriminator, discriminator, (images, labels))
        return generator_hinge(judgement.scores) + weight * judgement.contrast(temperature), None


def _physical(hyperparameters: Parameters) -> tuple[Tensor, Tensor]:
    """Weight and temperature of unconstrained values."""
    return F.softplus(hyperparameters['b1']), F.softplus(hyperparameters['b2'])


def _unconstrained(value: float) -> Tensor:
    """What softplus maps to ``value``; stable for large ones."""
    return torch.tensor(value + math.log(-math.expm1(-value)))


def _check(settings: dict[str, Any]) -> None:
    """Refuse values out of their range."""
    check_common(settings, positive=('width', 'embedding_size'))
    if settings['learns'] not in ('meta', 'discriminator'):
        raise ValueError(f'learns must be \'meta\' or \'discriminator\', but is {settings["learns"]!r}.')
    for name in ('weight', 'temperature'):
        if not 0 < settings[name] < math.inf:
            raise ValueError(f'{name} must be positive and finite, but is {settings[name]}.')
