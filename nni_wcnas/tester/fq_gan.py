"""FQ-GAN as a tester: a class-conditional BigGAN whose discriminator compares its features with a learned dictionary.

Two hyper-parameters, B, shape what the generator learns: the dictionary's momentum and the weight of the quantisation
loss. The worst-case search learns them, so both are plain parameters without constraint, ``momentum = sigmoid(b1)`` and
``weight = softplus(b2)``, and the generator's loss is differentiable in them (see
:mod:`nni_wcnas.functional.quantisation` for how, and for the deviation it takes)::

    L_dg(G, B)  =  -mean S(G(z, y), y)  +  weight * sum over blocks |features - codes'(momentum)|^2
    L_S         =  hinge(real, fake)    +  weight * the same on real and on fake images

When it acts: the discriminator on every batch, the generator when told so. Cost: one pass through the discriminator
with twice the batch for the former, one pass through generator and discriminator for the latter.

The moving average of the generator belongs to pre-training: it is what the file gives to a search. In a search the
architecture sees the live generator, and the average is no more than its copy, for :meth:`FQGAN.save`.

Published widths and constants: ``FQGAN(10, width=256)`` for CIFAR-10, ``FQGAN(100, width=256, dictionary_size=64,
momentum=0.9, weight=10.0)`` for CIFAR-100. Deviations: a code starts with unit length
and a cluster size of one; the dictionary learns
after the loss is evaluated against its next state; the generator has no spectral normalisation; the generator's batch
statistics move in its own steps only.

References
----------
Zhao et al., Feature Quantization Improves GAN Training, 2020; Brock et al., Large Scale GAN Training for High Fidelity
Natural Image Synthesis, 2019.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.optim import SGD, Adam, Optimizer

from nni_wcnas.contracts import (
    Auxiliary,
    Batch,
    GenerativeTester,
    Losses,
    NamedOptimizer,
    Noise,
    Parameters,
    SGDStep,
)
from nni_wcnas.functional.frozen import frozen_statistics
from nni_wcnas.functional.gan_losses import discriminator_hinge, generator_hinge
from nni_wcnas.functional.quantisation import Statistics
from nni_wcnas.tester import storage
from nni_wcnas.tester.averaging import moving_average
from nni_wcnas.tester.discriminator import Discriminator
from nni_wcnas.tester.generator import Generator
from nni_wcnas.tester.sgd import check_rates, cosine_sgd, next_step

__all__ = ['ADAM_BETAS', 'FQGAN']

_IMAGE_SIZES = (16, 32, 64)
_STRUCTURE = ('num_classes', 'image_size', 'width', 'latent', 'dictionary_size', 'feed_quantized')
_TRAINING = ('momentum', 'weight', 'generator_lr', 'generator_momentum', 'generator_weight_decay', 'min_lr',
             'discriminator_lr', 'ema_decay', 'ema_start')
ADAM_BETAS = (0.0, 0.999)
"""FQ-GAN's, for the discriminator always and for the generator in pre-training."""


class FQGAN(GenerativeTester):
    """Generator, its moving average, discriminator with feature quantisation, and the two hyper-parameters.

    Parameters
    ----------
    num_classes
        Number of classes.
    image_size
        Side of the images: 16, 32 or 64.
    width
        Channels of every block of both networks; 256 is the published size.
    latent
        Entries of the latent vector.
    dictionary_size
        Codes of each block's dictionary.
    momentum
        Initial momentum of the dictionaries, in (0, 1).
    weight
        Initial weight of the quantisation loss, positive.
    feed_quantized
        Pass quantised features from block to block, as the paper draws it; the published networks do not. The
        straight-through gradient in the generator is then no derivative, so finite differences and double backward
        disagree.
    generator_lr, generator_momentum, generator_weight_decay, min_lr
        SGD of the generator during the search; its rate falls to ``min_lr`` on a half cosine. The papers'
        0.025 is for width 256. With eight discriminator steps to each of its own, a pre-trained generator of width 32
        for 16 pixels lost its classes at 0.005 and above, and kept them at 0.001.
    discriminator_lr
        Adam of the discriminator, betas (0, 0.999).
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
                 generator_lr: float = 0.001, generator_momentum: float = 0.9, generator_weight_decay: float = 3e-4,
                 min_lr: float = 1e-4, discriminator_lr: float = 2e-4, ema_decay: float = 0.9, ema_start: int = 100,
                 pretrained: str | Path | None = None):
        super().__init__()
        given = locals()
        self._settings: dict[str, Any] = {name: given[name] for name in (*_STRUCTURE, *_TRAINING)}
        _check(self._settings)
        self.num_classes = num_classes
        self.image_size = image_size
        self.latent = latent
        self.pretrained = pretrained
        self.generator = Generator(num_classes, image_size, width, latent)
        self.discriminator = Discriminator(num_classes, image_size, width, dictionary_size,
                                           feed_quantized=feed_quantized)
        self.average = moving_average(self.generator, ema_decay, ema_start)
        self.b1 = nn.Parameter(torch.tensor(math.log(momentum) - math.log1p(-momentum)))
        self.b2 = nn.Parameter(torch.tensor(weight + math.log(-math.expm1(-weight))))  # Stable for large weights.
        self._generator_optimizer: SGD | None = None
        self._discriminator_optimizer: Adam | None = None
        if pretrained is not None:
            self.load(pretrained)

    # -------------------------------------------------------------------------------------------------- pure evaluation

    def noise(self, count: int, source: Batch | None = None) -> Noise:
        """Draw latents and uniform labels on the tester's device, from torch's global random state."""
        latent = torch.randn(count, self.latent, device=self.b1.device, dtype=self.b1.dtype)
        return Noise(latent, torch.randint(self.num_classes, (count,), device=self.b1.device))

    def generate(self, noise: Noise, generator: Parameters | None = None) -> Tensor:
        """f(G): images in [-1, 1], differentiable in ``generator`` (default: the live one); changes nothing."""
        with frozen_statistics(self.generator):
            if generator is None:
                return self.generator(*noise)
            return functional_call(self.generator, generator, tuple(noise))

    @torch.no_grad()
    def average_images(self, noise: Noise) -> Tensor:
        """Images of the moving average of the generator, in evaluation mode and without gradient."""
        return self.average(*noise)

    def generation_loss(self, noise: Noise, generator: Parameters | None = None,
                        hyperparameters: Parameters | None = None,
                        statistics: tuple[Statistics, ...] | None = None) -> tuple[Tensor, tuple[Statistics, ...]]:
        """L_dg(G, B), twice differentiable in both; discriminator, dictionaries and running statistics stand still."""
        images = self.generate(noise, generator)
        return self._generation_loss(images, noise.labels, hyperparameters or self.hyperparameters(), statistics)

    def generator_parameters(self) -> Parameters:
        """G: the live parameters of the generator."""
        return dict(self.generator.named_parameters())

    def discriminator_parameters(self) -> Parameters:
        """S: the live parameters of the discriminator."""
        return dict(self.discriminator.named_parameters())

    def hyperparameters(self) -> Parameters:
        """B: the live, unconstrained ``b1`` and ``b2``."""
        return {'b1': self.b1, 'b2': self.b2}

    def values(self) -> dict[str, float]:
        """The dictionary's momentum and the weight of the quantisation loss."""
        momentum, weight = _physical(self.hyperparameters())
        return {'momentum': momentum.item(), 'weight': weight.item()}

    # --------------------------------------------------------------------------------------------------------- training

    def optimizers(self, epochs: int) -> list[NamedOptimizer]:
        """Build SGD with cosine annealing for the generator and Adam for the discriminator; remembers them."""
        settings = self._settings
        self._generator_optimizer, scheduler = cosine_sgd(
            self.generator.parameters(), lr=settings['generator_lr'], momentum=settings['generator_momentum'],
            weight_decay=settings['generator_weight_decay'], min_lr=settings['min_lr'], epochs=epochs)
        self._discriminator_optimizer = Adam(self.discriminator.parameters(), lr=settings['discriminator_lr'],
                                             betas=ADAM_BETAS)
        return [NamedOptimizer('generator', self._generator_optimizer, scheduler),
                NamedOptimizer('discriminator', self._discriminator_optimizer)]

    def generator_step(self) -> SGDStep:
        """The numbers of the generator's next optimiser step."""
        if self._generator_optimizer is None:
            raise RuntimeError('The generator has no optimiser yet; call optimizers(epochs) first.')
        return next_step(self._generator_optimizer, self.generator_parameters())

    def adversary_step(self, batch: Batch, *, update_generator: bool) -> Losses:
        """Train the discriminator on ``batch.clean`` and, if told so, the generator on as many images; the average
        copies it."""
        if self._generator_optimizer is None or self._discriminator_optimizer is None:
            raise RuntimeError('The tester has no optimisers yet; call optimizers(epochs) first.')
        losses = self.train_discriminator(batch, self._discriminator_optimizer)
        if update_generator:
            losses |= self._generator_update(len(batch.labels), self._generator_optimizer)
            self.average.module.load_state_dict(self.generator.state_dict())
        return losses

    def train_discriminator(self, batch: Batch, optimizer: Optimizer) -> Losses:
        """One step of the discriminator and its dictionaries; the generator does not change, statistics included."""
        real = _real_images(batch, self.image_size)
        noise = self.noise(len(real))
        with torch.no_grad():
            fake = self.generate(noise)
        momentum, weight = (value.detach() for value in _physical(self.hyperparameters()))
        judgement = self.discriminator(torch.cat([real, fake]), torch.cat([batch.labels, noise.labels]), momentum)
        # The halves are equally large: the mean over both, doubled, is the published sum of the two means.
        quantisation = 2 * judgement.quantisation
        loss = discriminator_hinge(*judgement.scores.chunk(2)) + weight * quantisation
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        self.discriminator.trunk.commit(judgement.statistics, momentum)
        return {'discriminator': loss.detach(), 'quantisation': quantisation.detach()}

    def train_generator(self, count: int, optimizer: Optimizer) -> Losses:
        """One step of pre-training on ``count`` images: of the generator, the dictionaries and the moving average."""
        losses = self._generator_update(count, optimizer)
        self.average.update_parameters(self.generator)
        return losses

    def _generator_update(self, count: int, optimizer: Optimizer) -> Losses:
        """One step of the generator and the dictionaries."""
        noise = self.noise(count)
        fixed = {name: value.detach() for name, value in self.hyperparameters().items()}
        loss, statistics = self._generation_loss(self.generator(*noise), noise.labels, fixed, None)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        self.discriminator.trunk.commit(statistics, _physical(fixed)[0])
        return {'generator': loss.detach()}

    def train(self, mode: bool = True) -> FQGAN:
        """Switch all but the moving average, which is always in evaluation mode."""
        super().train(mode)
        self.average.eval()
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle by settings and state, as torch pickles no spectral norms; a copy has no optimisers yet."""
        return _rebuilt, (self._settings, self.pretrained, self.state_dict(), self.training)

    # ------------------------------------------------------------------------------------------------------------ files

    def settings(self) -> dict[str, Any]:
        """The constructor's arguments, with the hyper-parameters as they are now."""
        return {**self._settings, **self.values()}

    def save(self, path: str | Path, auxiliary: Auxiliary | None = None) -> None:
        """Write this tester, and the auxiliary model beside it, to a file; atomically."""
        storage.write(path, self.contents(auxiliary))

    def contents(self, auxiliary: Auxiliary | None = None) -> dict[str, Any]:
        """What :meth:`save` writes."""
        return {'settings': self.settings(), 'tester': self.state_dict(),
                'auxiliary': auxiliary.state_dict() if auxiliary else None}

    def load(self, path: str | Path) -> None:
        """Take over the networks and dictionaries of a file, G as its moving average; B and all settings stay.

        Raises
        ------
        ValueError
            If the file is damaged or holds a tester of another structure.
        """
        contents = storage.read(path, self.b1.device)
        storage.refuse_other(path, contents['settings'], {name: self._settings[name] for name in _STRUCTURE})
        kept = {name: value.detach().clone() for name, value in self.hyperparameters().items()}
        try:
            self.load_state_dict({**contents['tester'], **kept})
        except RuntimeError as error:
            raise ValueError(f'{path} does not hold the whole state of a tester; pre-train again.') from error
        self.generator.load_state_dict(self.average.module.state_dict())

    def _generation_loss(self, images: Tensor, labels: Tensor, hyperparameters: Parameters,
                         statistics: tuple[Statistics, ...] | None) -> tuple[Tensor, tuple[Statistics, ...]]:
        """L_dg of given images; the discriminator is a constant, so that a backward pass leaves no gradient in it."""
        momentum, weight = _physical(hyperparameters)
        constant = {name: value.detach() for name, value in self.discriminator.named_parameters()}
        with frozen_statistics(self.discriminator):
            judgement = functional_call(self.discriminator, constant, (images, labels, momentum, statistics))
        return generator_hinge(judgement.scores) + weight * judgement.quantisation, judgement.statistics


def _real_images(batch: Batch, size: int) -> Tensor:
    """The batch's clean images, or a refusal."""
    if batch.clean is None:
        raise ValueError('The discriminator learns from clean images in [-1, 1], but the batch has none; '
                         'use a data module of nni_wcnas.data.')
    expected = (len(batch.labels), 3, size, size)
    if batch.clean.shape != expected:
        raise ValueError(f'The tester makes images of shape {expected}, but the real ones have shape '
                         f'{tuple(batch.clean.shape)}; choose image_size to match.')
    return batch.clean


def _rebuilt(settings: dict[str, Any], pretrained: str | Path | None, state: dict[str, Tensor],
             training: bool) -> FQGAN:
    """A tester from what :meth:`FQGAN.__reduce__` kept; the pre-trained file is remembered, not read."""
    tester = FQGAN(**settings)
    tester.pretrained = pretrained
    tester.to(state['b1']).load_state_dict(state)
    return tester.train(training)


def _physical(hyperparameters: Parameters) -> tuple[Tensor, Tensor]:
    """Momentum and weight of unconstrained values."""
    return hyperparameters['b1'].sigmoid(), F.softplus(hyperparameters['b2'])


def _check(settings: dict[str, Any]) -> None:
    """Refuse values out of their range."""
    if settings['image_size'] not in _IMAGE_SIZES:
        raise ValueError(f'image_size must be one of {_IMAGE_SIZES}, but is {settings["image_size"]}; '
                         'resize the data to one of them.')
    for name in ('num_classes', 'width', 'latent', 'dictionary_size'):
        if settings[name] < 1:
            raise ValueError(f'{name} must be at least 1, but is {settings[name]}.')
    if not 0 < settings['momentum'] < 1:
        raise ValueError(f'momentum must lie strictly between 0 and 1, but is {settings["momentum"]}.')
    if not 0 <= settings['ema_decay'] <= 1 or settings['ema_start'] < 0:
        raise ValueError('ema_decay must lie in [0, 1] and ema_start must not be negative, '
                         f'but they are {settings["ema_decay"]} and {settings["ema_start"]}.')
    for name in ('weight', 'discriminator_lr'):
        if not 0 < settings[name] < math.inf:
            raise ValueError(f'{name} must be positive and finite, but is {settings[name]}.')
    check_rates('generator', settings['generator_lr'], settings['min_lr'], settings['generator_momentum'],
                settings['generator_weight_decay'])
