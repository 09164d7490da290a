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
from nni_wcnas.errors import InvalidArgument
from nni_wcnas.functional.frozen import frozen_statistics
from nni_wcnas.functional.gan_losses import discriminator_hinge, generator_hinge
from nni_wcnas.tester.contrastive_discriminator import ContrastiveDiscriminator
from nni_wcnas.tester.gan import GAN, PretrainingRecipe
from nni_wcnas.tester.gan_arguments import COMMON, check_common
from nni_wcnas.tester.generator import Generator

__all__ = ['ContraGAN']

_STRUCTURE = ('num_classes', 'image_size', 'width', 'latent', 'embedding_size')


class ContraGAN(GAN):
    """ContraGAN: a generator and its moving average, a contrastive discriminator, and two learned hyper-parameters.

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
        D, the number of entries of the embedding in which images and classes are compared.
    weight
        Initial weight of the contrastive loss, positive.
    temperature
        Initial temperature of the contrastive loss, positive.
    learns
        What B is: ``'hyperparameters'``, weight and temperature, or ``'discriminator'``, the parameters of the
        discriminator.
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
                 learns: Literal['hyperparameters', 'discriminator'] = 'hyperparameters',
                 generator_lr: float = 0.001, generator_momentum: float = 0.9, generator_weight_decay: float = 3e-4,
                 generator_gradient_clip_val: float | None = None, min_lr: float = 1e-4,
                 discriminator_lr: float = 2e-4, ema_decay: float = 0.9, ema_start: int = 100,
                 pretrained: str | Path | None = None):
        # Taken before any other name is bound: locals() has the arguments alone, beside self.
        given = locals()
        # What a file of pre-training is compared by, and what a copy is built from.
        settings = {name: given[name] for name in (*_STRUCTURE, 'weight', 'temperature', 'learns', *COMMON)}
        _check(settings)
        super().__init__(Generator(num_classes, image_size, width, latent),
                         ContrastiveDiscriminator(num_classes, image_size, width, embedding_size),
                         settings, _STRUCTURE, pretrained)
        self.b1 = nn.Parameter(_unconstrained(weight))
        self.b2 = nn.Parameter(_unconstrained(temperature))
        # Last of all: the state of the file is loaded strictly, with b1 and b2 among its names.
        if pretrained is not None:
            self.load(pretrained)

    def loss_hyperparameters(self) -> Parameters:
        """Return the live, unconstrained scalars ``b1`` and ``b2``."""
        return {'b1': self.b1, 'b2': self.b2}

    def loss_hyperparameter_values(self) -> dict[str, float]:
        """Return the weight and the temperature of the contrastive loss, both positive."""
        weight, temperature = _physical(self.loss_hyperparameters())
        return {'weight': weight.item(), 'temperature': temperature.item()}

    @torch.no_grad()
    def realism(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return the discriminator's scores of images, shape ``(N,)``, which do not depend on the labels."""
        with frozen_statistics(self.discriminator):
            return self.discriminator(images, labels).scores

    def discriminator_loss(self, real: Tensor, labels: Tensor, fake: Tensor,
                           fake_labels: Tensor) -> tuple[Tensor, Losses, None]:
        """Return the hinge loss of real and fake images plus the weighted contrastive loss of the real ones."""
        # Constants: B is learned by the search alone, never by the discriminator's own game.
        weight, temperature = (value.detach() for value in _physical(self.loss_hyperparameters()))
        # Both halves in one pass, so that the spectral norms take one power iteration a step.
        judgement = self.discriminator(torch.cat([real, fake]), torch.cat([labels, fake_labels]))
        # 2C is of the real images only (algorithm 1). It compares images of a batch with one another, so that the
        # fake ones have to be cut off before it.
        contrast = judgement.first(len(real)).contrast(temperature)
        loss = discriminator_hinge(*judgement.scores.chunk(2)) + weight * contrast
        return loss, {'contrast': contrast.detach()}, None

    def generator_loss(self, images: Tensor, labels: Tensor, discriminator: Parameters, hyperparameters: Parameters,
                       statistics: None = None) -> tuple[Tensor, None]:
        """Return the hinge and contrastive loss of generated images, twice differentiable."""
        del statistics  # Unused: the loss holds none fixed.
        weight, temperature = _physical(hyperparameters)
        judgement = functional_call(self.discriminator, discriminator, (images, labels))
        return generator_hinge(judgement.scores) + weight * judgement.contrast(temperature), None


def _physical(hyperparameters: Parameters) -> tuple[Tensor, Tensor]:
    """Map the unconstrained values to weight = softplus(b1) and temperature = softplus(b2)."""
    return F.softplus(hyperparameters['b1']), F.softplus(hyperparameters['b2'])


def _unconstrained(value: float) -> Tensor:
    """Return the inverse of softplus at a positive ``value``."""
    # log(exp(v) - 1) would overflow for a large v; written as v + log(1 - exp(-v)) it does not.
    return torch.tensor(value + math.log(-math.expm1(-value)))


def _check(settings: dict[str, Any]) -> None:
    """Raise ValueError if an argument is out of its range."""
    check_common(settings, positive=('width', 'embedding_size'))
    if settings['learns'] not in ('hyperparameters', 'discriminator'):
        raise InvalidArgument('learns', settings['learns'], "be 'hyperparameters' or 'discriminator'")
    for name in ('weight', 'temperature'):
        if not 0 < settings[name] < math.inf:
            raise InvalidArgument(name, settings[name], 'be positive and finite')
