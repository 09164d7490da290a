"""StyleGAN2-ADA as a tester: styles that scale kernels, and a discriminator that sees augmented images.

::

    L_dg(G, S)  =  mean log(1 + exp(-S(T(G(z, y)), y)))
    L_S         =  mean log(1 + exp(-S(T(x), y))) + mean log(1 + exp(S(T(G(z, y)), y)))
                   + on every 16th step  16 * gamma / 2 * mean |d S(T(x), y) / dx|^2

T are the random changes of :mod:`nni_wcnas.tester.adaptive_augmentation`, with a probability that adapts in the
discriminator's steps. L_dg holds the changes of a batch fixed, so that all its evaluations are of the same function. It
has no hyper-parameters, so that B is the discriminator (papers/wcnas, equation 18). Networks:
:mod:`nni_wcnas.tester.style_generator` and :mod:`nni_wcnas.tester.style_discriminator`; what all GANs share is in
:mod:`nni_wcnas.tester.gan`.

Noise maps are part of the latent tensor; core-sets of pre-training compare the latent proper alone.

An independent implementation from the papers. Published size for CIFAR-10: ``StyleGAN2ADA(10, width=512, latent=512)``.
Deviations, beside those of the networks and of the augmentation: images end in tanh; R1 is part of the step of the
logistic loss, and Adam's numbers are not corrected for its rarity; no mixed precision.

References
----------
Karras et al., Analyzing and Improving the Image Quality of StyleGAN, CVPR 2020; Karras et al., Training Generative
Adversarial Networks with Limited Data, NeurIPS 2020, with the settings of its appendix D for CIFAR-10.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from nni_wcnas.contracts import Batch, Losses, Noise, Parameters
from nni_wcnas.errors import InvalidArgument
from nni_wcnas.functional.gan_losses import discriminator_logistic, generator_logistic
from nni_wcnas.functional.gradient_penalty import squared_slope
from nni_wcnas.tester.adaptive_augmentation import AdaptiveAugmentation, Draws
from nni_wcnas.tester.gan import GAN, PretrainingRecipe
from nni_wcnas.tester.gan_arguments import COMMON, check_common
from nni_wcnas.tester.style_discriminator import StyleDiscriminator
from nni_wcnas.tester.style_generator import StyleGenerator

__all__ = ['StyleGAN2ADA']

_STRUCTURE = ('num_classes', 'image_size', 'width', 'latent')

_EVERY = 16
"""R1 is added on every 16th step of the discriminator, 16 times as strong: lazy regularisation, as published."""


class StyleGAN2ADA(GAN):
    """StyleGAN2-ADA: a generator, its moving average, and a discriminator behind an augmentation, which is B.

    Parameters
    ----------
    num_classes
        Number of classes.
    image_size
        Side of the images: 16, 32, 64 or 128.
    width
        Channels of every layer up to 64 pixels, half as many at 128; 512 is the published size.
    latent
        Entries of the latent, without the noise of the layers, and of a style.
    r1_gamma
        Weight of the gradient penalty; 0 is none. This and the augmentation's numbers act where the discriminator
        plays: in pre-training, and in a search that does not learn it as B. In a search that does, the augmentation
        stays as likely as it is.
    ada_target
        Value at which augmentation holds the mean sign of the scores of real images, below 1; None and 0 augment
        nothing.
    ada_speed
        Number of real images in which the probability of augmentation can rise from 0 to 1.
    generator_lr, generator_momentum, generator_weight_decay, generator_gradient_clip_val, min_lr, discriminator_lr,
    ema_decay, ema_start, pretrained
        As in :class:`~nni_wcnas.tester.FQGAN`; Adam's betas are (0, 0.99).

    Raises
    ------
    ValueError
        If a value is out of its range, or the pre-trained file is damaged or was made for another kind or structure.

    Examples
    --------
    >>> tester = StyleGAN2ADA(10, image_size=16, width=8, latent=16)
    >>> tester.generate(tester.noise(4)).shape
    torch.Size([4, 3, 16, 16])
    """

    recipe = PretrainingRecipe(lr=2.5e-3, betas=(0.0, 0.99), discriminator_steps=1)
    published_width = 512
    generator: StyleGenerator
    discriminator: StyleDiscriminator

    def __init__(self, num_classes: int, *, image_size: int = 32, width: int = 64, latent: int = 128,
                 r1_gamma: float = 0.01, ada_target: float | None = 0.6, ada_speed: int = 500_000,
                 generator_lr: float = 0.001, generator_momentum: float = 0.9, generator_weight_decay: float = 3e-4,
                 generator_gradient_clip_val: float | None = None, min_lr: float = 1e-4,
                 discriminator_lr: float = 2.5e-3, ema_decay: float = 0.9, ema_start: int = 100,
                 pretrained: str | Path | None = None):
        # Taken before any other name is bound: locals() has the arguments alone, beside self.
        given = locals()
        settings = {name: given[name] for name in (*_STRUCTURE, 'r1_gamma', 'ada_target', 'ada_speed', *COMMON)}
        _check(settings)
        augmentation = AdaptiveAugmentation(ada_target, ada_speed)
        super().__init__(StyleGenerator(num_classes, image_size, width, latent),
                         StyleDiscriminator(num_classes, image_size, width, augmentation),
                         settings, _STRUCTURE, pretrained)
        self._gamma = r1_gamma
        if pretrained is not None:
            self.load(pretrained)

    def noise(self, count: int, source: Batch | None = None) -> Noise:
        """Draw latents, with the noise of the layers behind them, and uniform labels on the tester's device.

        They come from torch's global random state. The latent tensor has the shape ``(count, generator.inputs)``.
        """
        del source  # Unused: images are made from nothing but noise.
        latent = torch.randn(count, self.generator.inputs, device=self.like.device, dtype=self.like.dtype)
        return Noise(latent, torch.randint(self.num_classes, (count,), device=self.like.device))

    @torch.no_grad()
    def realism(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return the discriminator's scores of images that are not augmented, shape ``(N,)``."""
        return self.discriminator(images, labels)

    def discriminator_loss(self, real: Tensor, labels: Tensor, fake: Tensor,
                           fake_labels: Tensor) -> tuple[Tensor, Losses, Tensor]:
        """Return the logistic loss of augmented images with R1 on every 16th step, and the scores of the real ones."""
        # The count is a buffer, so that a resumed run keeps the rhythm. Images need a gradient for R1 alone.
        penalises = self._gamma > 0 and self.discriminator.known_steps % _EVERY == 0
        real = real.detach().requires_grad_(penalises)
        # In two passes: the head compares the images of a batch, and a batch of both kinds would give them away.
        scores = self.discriminator(real, labels, self._draws(real))
        loss = discriminator_logistic(scores, self.discriminator(fake, fake_labels, self._draws(fake)))
        # R1 = gamma / 2 * mean |dS/dx|^2, by the images before their augmentation.
        if penalises:
            loss = loss + _EVERY * self._gamma / 2 * squared_slope(scores, real)
        return loss, {'augmentation': self.discriminator.augmentation.probability.clone()}, scores.detach()

    def generator_loss(self, images: Tensor, labels: Tensor, discriminator: Parameters, hyperparameters: Parameters,
                       statistics: Draws | None = None) -> tuple[Tensor, Draws | None]:
        """Return the logistic loss of augmented generated images, and the draws that it holds fixed."""
        del hyperparameters  # Unused: there are no hyper-parameters.
        # Draws of an earlier call make this the same function of G and S, as a finite difference needs it.
        draws = self._draws(images) if statistics is None else statistics
        scores = functional_call(self.discriminator, discriminator, (images, labels, draws))
        return generator_logistic(scores), draws

    @torch.no_grad()
    def commit(self, statistics: Tensor | Draws | None) -> None:
        """Count a step of the discriminator, and adapt the augmentation to its scores of real images.

        A step of the generator hands on its draws instead of scores, and moves nothing.
        """
        if isinstance(statistics, Tensor):
            self.discriminator.count_step()
            self.discriminator.augmentation.adapt(statistics)

    def _draws(self, images: Tensor) -> Draws | None:
        """Draw a random change for each image; None where the augmentation is off."""
        return self.discriminator.augmentation.draw(len(images), self.image_size)


def _check(settings: dict[str, Any]) -> None:
    """Raise ValueError if an argument is out of its range."""
    check_common(settings, positive=('width', 'ada_speed'))
    if not 0 <= settings['r1_gamma'] < math.inf:
        raise InvalidArgument('r1_gamma', settings['r1_gamma'], 'be 0 or more and finite')
    if settings['ada_target'] is not None and not 0 <= settings['ada_target'] < 1:
        raise InvalidArgument('ada_target', settings['ada_target'], 'be None or lie in [0, 1)')
