"""FQ-GAN as a tester: a class-conditional BigGAN whose discriminator compares its features with a learned dictionary.

Two hyper-parameters, B, shape what the generator learns: the dictionary's momentum and the weight of the quantisation
loss. The worst-case search learns them, so both are plain parameters without constraint, ``momentum = sigmoid(b1)`` and
``weight = softplus(b2)``, and the generator's loss is differentiable in them (see
:mod:`nni_wcnas.functional.quantisation` for how, and for the deviation it takes)::

    L_dg(G, B)  =  -mean S(G(z, y), y)  +  weight * sum over blocks |features - codes'(momentum)|^2
    L_S         =  hinge(real, fake)    +  weight * the same on real and on fake images

What all GANs share, and when they act, is in :mod:`nni_wcnas.tester.gan`.

Published widths and constants: ``FQGAN(10, width=256)`` for CIFAR-10, ``FQGAN(100, width=256, dictionary_size=64,
momentum=0.9, weight=10.0)`` for CIFAR-100. Deviations: a code starts with unit length and a cluster size of one; the
dictionary learns after the loss is evaluated against its next state; the generator has no spectral normalisation
(``BigGAN``'s has); the generator's batch statistics move in its own steps only; the discriminator starts as
``BigGAN``'s, with torch's weights.

References
----------
Zhao et al., Feature Quantization Improves GAN Training, 2020; Brock et al., Large Scale GAN Training for High Fidelity
Natural Image Synthesis, 2019.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from nni_wcnas.contracts import Losses, Parameters
from nni_wcnas.errors import InvalidArgument
from nni_wcnas.functional.frozen import frozen_statistics
from nni_wcnas.functional.gan_losses import discriminator_hinge, generator_hinge
from nni_wcnas.functional.quantisation import Statistics
from nni_wcnas.tester.gan import GAN
from nni_wcnas.tester.gan_arguments import COMMON, check_common
from nni_wcnas.tester.generator import Generator
from nni_wcnas.tester.quantised_discriminator import QuantisedDiscriminator, QuantisedTrunk

__all__ = ['FQGAN']

_STRUCTURE = ('num_classes', 'image_size', 'width', 'latent', 'dictionary_size', 'feed_quantized')


class FQGAN(GAN):
    """FQ-GAN: a generator and its moving average, a quantising discriminator, and two learned hyper-parameters.

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
    dictionary_size
        K, the number of codes in the dictionary of each block.
    momentum
        Initial momentum of the dictionaries, in (0, 1).
    weight
        Initial weight of the quantisation loss, positive.
    feed_quantized
        Pass quantised features from block to block, as the paper draws it; the published networks do not. The
        straight-through gradient in the generator is then no derivative, so finite differences and double backward
        disagree.
    learns
        What B is: ``'hyperparameters'``, momentum and weight, or ``'discriminator'``, the discriminator's parameters.
    generator_lr, generator_momentum, generator_weight_decay, min_lr
        SGD of the generator during the search; its rate falls to ``min_lr`` on a half cosine. The papers' 0.025 is for
        width 256, ``FQGAN(10, width=256, **recipe('darts').generator)``. With eight discriminator steps to each of its
        own, a pre-trained generator of width 32 for 16 pixels lost its classes at 0.005 and above, and kept them at
        0.001.
    generator_gradient_clip_val
        Longest gradient of the generator in its own steps of the search; None for no clip.
    discriminator_lr
        Adam of the discriminator, betas (0, 0.999); not where the discriminator is B.
    ema_decay, ema_start
        Moving average of the generator in pre-training: its decay, and for how many generator steps it is a copy. The
        published 0.9999 and 1000 are for far longer runs than the 1000 steps of ``nni-wcnas pretrain``, of which they
        would average none. While digits of 16 pixels are learned, in 500 steps at width 32, a classifier erred on 34 %
        of the average's images with a decay of 0.9, on 47 % with 0.99 and on 36 % of the live generator's.
    pretrained
        File that :func:`nni_wcnas.tester.pretraining.pretrain` or :meth:`save` wrote.

    Raises
    ------
    ValueError
        If a value is out of its range, or the pre-trained file is damaged or was made for another structure.

    Examples
    --------
    >>> tester = FQGAN(10, image_size=16, width=8, dictionary_size=16)
    >>> tester.generate(tester.noise(4)).shape
    torch.Size([4, 3, 16, 16])
    """

    def __init__(self, num_classes: int, *, image_size: int = 32, width: int = 64, latent: int = 128,
                 dictionary_size: int = 1024, momentum: float = 0.8, weight: float = 1.0, feed_quantized: bool = False,
                 learns: Literal['hyperparameters', 'discriminator'] = 'hyperparameters',
                 generator_lr: float = 0.001, generator_momentum: float = 0.9, generator_weight_decay: float = 3e-4,
                 generator_gradient_clip_val: float | None = None, min_lr: float = 1e-4,
                 discriminator_lr: float = 2e-4, ema_decay: float = 0.9, ema_start: int = 100,
                 pretrained: str | Path | None = None):
        # Taken before any other name is bound: locals() has the arguments alone, beside self.
        given = locals()
        settings = {name: given[name] for name in (*_STRUCTURE, 'momentum', 'weight', 'learns', *COMMON)}
        _check(settings)
        super().__init__(Generator(num_classes, image_size, width, latent),
                         QuantisedDiscriminator(num_classes, image_size, width, dictionary_size,
                                                feed_quantized=feed_quantized),
                         settings, _STRUCTURE, pretrained)
        # The inverses of sigmoid and softplus. That of softplus, log(exp(w) - 1), would overflow for a large w; written
        # as w + log(1 - exp(-w)) it does not.
        self.b1 = nn.Parameter(torch.tensor(math.log(momentum) - math.log1p(-momentum)))
        self.b2 = nn.Parameter(torch.tensor(weight + math.log(-math.expm1(-weight))))
        # Last of all: the state of the file is loaded strictly, with b1 and b2 among its names.
        if pretrained is not None:
            self.load(pretrained)

    def loss_hyperparameters(self) -> Parameters:
        """Return the live, unconstrained scalars ``b1`` and ``b2``."""
        return {'b1': self.b1, 'b2': self.b2}

    def loss_hyperparameter_values(self) -> dict[str, float]:
        """Return the momentum of the dictionaries, in (0, 1), and the weight of the quantisation loss, positive."""
        momentum, weight = _physical(self.loss_hyperparameters())
        return {'momentum': momentum.item(), 'weight': weight.item()}

    @torch.no_grad()
    def realism(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return the discriminator's scores of images, shape ``(N,)``."""
        # The momentum matters to a score only where quantised features are fed.
        with frozen_statistics(self.discriminator):
            return self.discriminator(images, labels, _physical(self.loss_hyperparameters())[0]).scores

    def discriminator_loss(self, real: Tensor, labels: Tensor, fake: Tensor,
                           fake_labels: Tensor) -> tuple[Tensor, Losses, tuple[Statistics, ...]]:
        """Return the hinge and quantisation loss of real and fake images, the latter alone, and the statistics."""
        # Constants: B is learned by the search alone, never by the discriminator's own game.
        momentum, weight = (value.detach() for value in _physical(self.loss_hyperparameters()))
        # Both halves in one pass, so that the spectral norms take one power iteration a step.
        judgement = self.discriminator(torch.cat([real, fake]), torch.cat([labels, fake_labels]), momentum)
        # The halves are equally large: the mean over both, doubled, is the published sum of the two means.
        quantisation = 2 * judgement.quantisation
        loss = discriminator_hinge(*judgement.scores.chunk(2)) + weight * quantisation
        return loss, {'quantisation': quantisation.detach()}, judgement.statistics

    def generator_loss(self, images: Tensor, labels: Tensor, discriminator: Parameters, hyperparameters: Parameters,
                       statistics: tuple[Statistics, ...] | None = None) -> tuple[Tensor, tuple[Statistics, ...]]:
        """Return the hinge and quantisation loss of generated images, twice differentiable, and the statistics."""
        momentum, weight = _physical(hyperparameters)
        judgement = functional_call(self.discriminator, discriminator, (images, labels, momentum, statistics))
        return generator_hinge(judgement.scores) + weight * judgement.quantisation, judgement.statistics

    def commit(self, statistics: tuple[Statistics, ...]) -> None:
        """Let the dictionaries learn from a batch, with the momentum as it is by now."""
        cast(QuantisedTrunk, self.trunk).commit(statistics, _physical(self.loss_hyperparameters())[0].detach())


def _physical(hyperparameters: Parameters) -> tuple[Tensor, Tensor]:
    """Map the unconstrained values to momentum = sigmoid(b1) and weight = softplus(b2)."""
    return hyperparameters['b1'].sigmoid(), F.softplus(hyperparameters['b2'])


def _check(settings: dict[str, Any]) -> None:
    """Raise ValueError if an argument is out of its range."""
    check_common(settings, positive=('width', 'dictionary_size'))
    if settings['learns'] not in ('hyperparameters', 'discriminator'):
        raise InvalidArgument('learns', settings['learns'], "be 'hyperparameters' or 'discriminator'")
    if not 0 < settings['momentum'] < 1:
        raise InvalidArgument('momentum', settings['momentum'], 'lie strictly between 0 and 1')
    if not 0 < settings['weight'] < math.inf:
        raise InvalidArgument('weight', settings['weight'], 'be positive and finite')
