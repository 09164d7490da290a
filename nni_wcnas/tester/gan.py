"""What all adversarial testers share: a generator, its moving average and a discriminator, trained in turns.

A kind of GAN is a file beside this one: its networks, the two losses, and the hyper-parameters that its generator's
loss has. What B is, is told by ``learns``:

- ``'meta'``: these hyper-parameters; the discriminator S plays its own game on every batch (the paper's full method);
- ``'discriminator'``: S itself, which then does not play but ascends the search's objective ("weights only", equation
  18). What kinds without hyper-parameters do. Under an objective that does not learn B, S plays;
- ``'architecture'``: how S mixes its operations (:mod:`nni_wcnas.tester.mixed_trunk`); its weights play.

Where B is the discriminator, L_dg is differentiated by it through the scores alone: an auxiliary model that shares its
trunk takes that as a constant, as equation 18 has V apart from S, and so are the statistics that a loss holds fixed.
By the batch dB is noisy: what two batches of 64 images told of lambda's term had a cosine of 0.03, two of 256 one of
0.23 (of the learner's loss 0.23 and 0.35; width 32, 16 pixels). By finite differences its product is noisy as well,
with a cosine to the exact one of 0.8 for BigGAN, 0.3 to 0.5 for SN-GAN and 0.1 for StyleGAN2-ADA (with hyper-parameters
of the loss as B, 1.00). And a generator fools what hardly moves, so that high rates take it apart whatever lambda is.

When it acts: the discriminator on every batch, the generator when told so (not in a warm-up where the discriminator
is B and stands still). Cost: one pass through the discriminator with twice the batch for the former, one pass through
generator and discriminator for the latter.

Where the papers' tables clip G, its gradient is clipped in its own steps of the search; the look-ahead of a
hypergradient is without, as that of the learner's weights is.

The moving average of the generator belongs to pre-training: it is what the file gives to a search. In a search the
architecture sees the live generator, and the average is no more than its copy, for :meth:`GAN.save`.

References
----------
papers/wcnas, equations 5 and 18; Goodfellow et al., Generative Adversarial Nets, 2014.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
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
from nni_wcnas.tester import storage
from nni_wcnas.tester.averaging import moving_average
from nni_wcnas.tester.gan_arguments import SEARCH_ONLY
from nni_wcnas.tester.mixed_trunk import ARCHITECTURE, OPERATIONS
from nni_wcnas.tester.sgd import clip, cosine_sgd, next_step

__all__ = ['GAN', 'PretrainingRecipe']


@dataclass(frozen=True)
class PretrainingRecipe:
    """How a kind of GAN is pre-trained by its authors."""

    lr: float = 2e-4
    """Of Adam, for both networks."""
    betas: tuple[float, float] = (0.0, 0.999)
    """Of Adam, for the generator in pre-training and for the discriminator always."""
    discriminator_steps: int = 4
    """For each step of the generator."""


class GAN(GenerativeTester):
    """A class-conditional generator, its moving average, and a discriminator.

    Parameters
    ----------
    generator
        Maps a latent ``(N, latent)`` and labels ``(N,)`` to images ``(N, 3, image_size, image_size)`` in [-1, 1].
    discriminator
        Has a ``trunk`` of ``width`` features, which an auxiliary model may share.
    settings
        Arguments of the kind's constructor by name.
    structure
        Names of those that shape the networks: a file of others is refused.
    pretrained
        File that pre-training or :meth:`save` wrote.
    """

    recipe = PretrainingRecipe()
    published_width: int = 256
    """Of the networks of its authors: smaller generators diverge at the papers' rates."""
    is_trained: bool = False
    """Whether the generator has learned before the search: in pre-training, or by a file."""
    generator: nn.Module
    discriminator: nn.Module

    def __init__(self, generator: nn.Module, discriminator: nn.Module, settings: dict[str, Any],
                 structure: Sequence[str], pretrained: str | Path | None):
        super().__init__()
        self._settings, self._structure, self.pretrained = settings, tuple(structure), pretrained
        self.num_classes, self.image_size, self.latent = (settings[name]
                                                          for name in ('num_classes', 'image_size', 'latent'))
        self.learns = settings.get('learns', 'discriminator')
        self.generator, self.discriminator = generator, discriminator
        self.average = moving_average(generator, settings['ema_decay'], settings['ema_start'])
        self._generator_optimizer: SGD | None = None
        self._discriminator_optimizer: Adam | None = None

    # ------------------------------------------------------------------------------------------------ what a kind gives

    @abstractmethod
    def realism(self, images: Tensor, labels: Tensor) -> Tensor:
        """The discriminator's scores, shape ``(N,)``, higher is more real; changes nothing."""

    @abstractmethod
    def discriminator_loss(self, real: Tensor, labels: Tensor, fake: Tensor,
                           fake_labels: Tensor) -> tuple[Tensor, Losses, Any]:
        """L_S, which may move the discriminator's running statistics, losses to log, and what :meth:`commit` is given.

        The halves are equally large.
        """

    @abstractmethod
    def generator_loss(self, images: Tensor, labels: Tensor, discriminator: Parameters, meta: Parameters,
                       statistics: Any = None) -> tuple[Tensor, Any]:
        """L_dg of generated images, with frozen running statistics, and what :meth:`commit` is given."""

    def penalty(self, generator: Parameters) -> Tensor | float:
        """What the generator's parameters add to L_dg."""
        del generator  # Unused: nothing.
        return 0.0

    def commit(self, statistics: Any) -> None:
        """Let what has no gradient learn from a batch that a loss has seen."""

    def meta(self) -> Parameters:
        """The hyper-parameters of the generator's loss: live and unconstrained."""
        return {}

    def meta_values(self) -> dict[str, float]:
        """The same as the constructor's arguments spell them."""
        return {}

    # -------------------------------------------------------------------------------------------------- pure evaluation

    @property
    def like(self) -> Tensor:
        """A tensor of the tester's device and floating-point type."""
        return next(self.generator.parameters())

    @property
    def trunk(self) -> nn.Module:
        """The part of the discriminator that maps images ``(N, 3, H, W)`` to features ``(N, width)``."""
        return self.discriminator.get_submodule('trunk')

    def noise(self, count: int, source: Batch | None = None) -> Noise:
        """Draw latents and uniform labels on the tester's device, from torch's global random state."""
        del source  # Unused: images are made from nothing but noise.
        latent = torch.randn(count, self.latent, device=self.like.device, dtype=self.like.dtype)
        return Noise(latent, torch.randint(self.num_classes, (count,), device=self.like.device))

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
                        hyperparameters: Parameters | None = None, statistics: Any = None) -> tuple[Tensor, Any]:
        """L_dg(G, B), twice differentiable in both; the tester stands still."""
        images = self.generate(noise, generator)
        given = self.hyperparameters() if hyperparameters is None else hyperparameters
        loss, statistics = self._adversarial_loss(images, noise.labels, given, statistics)
        return loss + self.penalty(self.generator_parameters() if generator is None else generator), statistics

    def generator_parameters(self) -> Parameters:
        """G: the live parameters of the generator."""
        return dict(self.generator.named_parameters())

    def discriminator_parameters(self) -> Parameters:
        """S: the live parameters of the discriminator, without its architecture."""
        return {name: value for name, value in self.discriminator.named_parameters() if name != ARCHITECTURE}

    def hyperparameters(self) -> Parameters:
        """B, live and unconstrained: see ``learns``."""
        if self.learns == 'architecture':
            return {ARCHITECTURE: self.discriminator.get_parameter(ARCHITECTURE)}
        return self.discriminator_parameters() if self.learns == 'discriminator' else self.meta()

    def values(self) -> dict[str, float]:
        """B: hyper-parameters as they are spelled, the norm of S's parameters, or its operations' mean weights."""
        if self.learns == 'meta':
            return self.meta_values()
        if self.learns == 'architecture':
            weights = self.discriminator.get_parameter(ARCHITECTURE).detach().softmax(dim=1).mean(dim=0)
            return dict(zip(OPERATIONS, weights.tolist(), strict=True))
        norms = torch._foreach_norm([value.detach() for value in self.hyperparameters().values()])
        return {'discriminator_norm': torch.stack(norms).norm().item()}

    @property
    def waits_for_b(self) -> bool:
        """Where the discriminator is B, and therefore does not play."""
        return self._discriminator_optimizer is None

    # --------------------------------------------------------------------------------------------------------- training

    def optimizers(self, epochs: int, *, learns_b: bool = True) -> list[NamedOptimizer]:
        """Build SGD with cosine annealing for the generator and Adam for the discriminator, unless the search learns
        it as B; remembers them."""
        settings = self._settings
        self._generator_optimizer, scheduler = cosine_sgd(
            self.generator.parameters(), lr=settings['generator_lr'], momentum=settings['generator_momentum'],
            weight_decay=settings['generator_weight_decay'], min_lr=settings['min_lr'], epochs=epochs)
        found = [NamedOptimizer('generator', self._generator_optimizer, scheduler)]
        self._discriminator_optimizer = None
        if not (learns_b and self.learns == 'discriminator'):
            self._discriminator_optimizer = Adam(self.discriminator_parameters().values(),
                                                 lr=settings['discriminator_lr'], betas=self.recipe.betas)
            found.append(NamedOptimizer('discriminator', self._discriminator_optimizer))
        return found

    def generator_step(self) -> SGDStep:
        """The numbers of the generator's next optimiser step."""
        return next_step(_built(self._generator_optimizer), self.generator_parameters())

    def adversary_step(self, batch: Batch, *, update_generator: bool) -> Losses:
        """Train the discriminator, if it plays, on ``batch.clean`` and, if told so, the generator on as many images;
        the average copies it."""
        optimizer = _built(self._generator_optimizer)
        losses: Losses = {}
        if self._discriminator_optimizer is not None:
            losses |= self.train_discriminator(batch, self._discriminator_optimizer)
        if update_generator:
            losses |= self._generator_update(self.noise(len(batch.labels)), optimizer, None,
                                             self._settings['generator_gradient_clip_val'])
            self.average.module.load_state_dict(self.generator.state_dict())
        return losses

    def train_discriminator(self, batch: Batch, optimizer: Optimizer, noise: Noise | None = None) -> Losses:
        """One step of the discriminator; the generator does not change, statistics included.

        ``noise``, drawn by default, makes as many images as there are real ones.
        """
        real = _real_images(batch, self.image_size)
        noise = self.noise(len(real)) if noise is None else noise
        with torch.no_grad():
            fake = self.generate(noise)
        loss, losses, statistics = self.discriminator_loss(real, batch.labels, fake, noise.labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        self.commit(statistics)
        return {'discriminator': loss.detach(), **losses}

    def train_generator(self, count: int, optimizer: Optimizer, *, noise: Noise | None = None,
                        keep: int | None = None) -> Losses:
        """One step of pre-training on ``count`` images: of the generator, its statistics and the moving average.

        ``noise`` is drawn by default. Only the ``keep`` images that the discriminator finds most real are learned from,
        by default all.
        """
        losses = self._generator_update(self.noise(count) if noise is None else noise, optimizer, keep, None)
        self.average.update_parameters(self.generator)
        self.is_trained = True
        return losses

    def _generator_update(self, noise: Noise, optimizer: Optimizer, keep: int | None, limit: float | None) -> Losses:
        """One step of the generator, its gradient no longer than ``limit``, and of what has no gradient."""
        images, labels = self.generator(*noise), noise.labels
        if keep is not None and keep < len(labels):
            best = self.realism(images.detach(), labels).topk(keep).indices
            images, labels = images[best], labels[best]
        loss, statistics = self._adversarial_loss(images, labels, {}, None)
        loss = loss + self.penalty(self.generator_parameters())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        clip(self.generator.parameters(), limit)
        optimizer.step()
        self.commit(statistics)
        return {'generator': loss.detach()}

    def _adversarial_loss(self, images: Tensor, labels: Tensor, given: Parameters,
                          statistics: Any) -> tuple[Tensor, Any]:
        """L_dg of images with some of B given; the rest is a constant, so that no gradient is left in it."""
        discriminator = {name: value.detach() for name, value in self.discriminator.named_parameters()}
        meta = {name: value.detach() for name, value in self.meta().items()}
        (meta if self.learns == 'meta' else discriminator).update(given)
        with frozen_statistics(self.discriminator):
            return self.generator_loss(images, labels, discriminator, meta, statistics)

    def train(self, mode: bool = True) -> GAN:
        """Switch all but the moving average, which is always in evaluation mode."""
        super().train(mode)
        self.average.eval()
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle by settings and state, as torch pickles no spectral norms; a copy has no optimisers yet."""
        return _rebuilt, (type(self), self._settings, self.pretrained, self.state_dict(), self.training,
                          self.is_trained)

    # ------------------------------------------------------------------------------------------------------------ files

    def settings(self) -> dict[str, Any]:
        """The constructor's arguments, with the hyper-parameters as they are now."""
        return {**self._settings, **self.meta_values()}

    def pretraining_settings(self) -> dict[str, Any]:
        """Those of them that pre-training depends on; what only acts in a search is none."""
        skipped = [name for name in SEARCH_ONLY if name not in self._structure]
        return {name: value for name, value in self.settings().items() if name not in skipped}

    def save(self, path: str | Path, auxiliary: Auxiliary | None = None) -> None:
        """Write this tester, and the auxiliary model beside it, to a file; atomically."""
        storage.write(path, self.contents(auxiliary))

    def contents(self, auxiliary: Auxiliary | None = None) -> dict[str, Any]:
        """What :meth:`save` writes."""
        return {'kind': type(self).__name__, 'settings': self.settings(), 'tester': self.state_dict(),
                'auxiliary': auxiliary.state_dict() if auxiliary else None}

    def load(self, path: str | Path) -> None:
        """Take over the networks of a file, G as its moving average; hyper-parameters and all settings stay.

        Raises
        ------
        ValueError
            If the file is damaged or holds a tester of another kind or structure.
        """
        contents = storage.read(path, self.like.device)
        storage.refuse_other_kind(path, contents, type(self).__name__)
        storage.refuse_other(path, contents['settings'], {name: self._settings[name] for name in self._structure})
        kept = {name: value.detach().clone() for name, value in self.meta().items()}
        try:
            self.load_state_dict({**contents['tester'], **kept})
        except RuntimeError as error:
            raise ValueError(f'{path} does not hold the whole state of a tester; pre-train again.') from error
        self.generator.load_state_dict(self.average.module.state_dict())
        self.is_trained = True


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


def _built(optimizer: SGD | None) -> SGD:
    if optimizer is None:
        raise RuntimeError('The tester has no optimisers yet; call optimizers(epochs) first.')
    return optimizer


def _rebuilt(kind: type[GAN], settings: dict[str, Any], pretrained: str | Path | None, state: dict[str, Tensor],
             training: bool, is_trained: bool) -> GAN:
    """A tester from what :meth:`GAN.__reduce__` kept; the pre-trained file is remembered, not read."""
    tester = kind(**settings)
    tester.pretrained, tester.is_trained = pretrained, is_trained
    like = next(value for value in state.values() if value.is_floating_point())
    tester.to(like.device, like.dtype).load_state_dict(state)
    return tester.train(training)
