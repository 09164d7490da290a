"""What all adversarial testers share: a generator, its moving average and a discriminator, trained in turns.

A kind of GAN is a file beside this one. Its networks and losses, and what B is, are those of
:mod:`nni_wcnas.tester.adversarial_networks`.

When it acts: the discriminator on every batch, the generator when told so (not in a warm-up where the discriminator
is B and stands still). Cost: a step of the discriminator is one pass through it with twice the batch, a step of the
generator one pass through both networks.

Where the papers' tables clip G, its gradient is clipped in its own steps of the search. The look-ahead of a
hypergradient is not clipped, neither here nor for the learner's weights.

The moving average of the generator belongs to pre-training: it is what the file gives to a search. In a search the
architecture sees the live generator, and the average is no more than its copy, for :meth:`GAN.save`.

References
----------
papers/wcnas, equations 5 and 8; Goodfellow et al., Generative Adversarial Nets, 2014.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, Optimizer

from nni_wcnas.contracts import Auxiliary, Batch, Losses, NamedOptimizer, Noise, SGDStep
from nni_wcnas.errors import InvalidFile
from nni_wcnas.tester import storage
from nni_wcnas.tester.adversarial_networks import AdversarialNetworks
from nni_wcnas.tester.gan_arguments import SEARCH_ONLY
from nni_wcnas.tester.sgd import clip, cosine_sgd, next_step

__all__ = ['GAN', 'PretrainingRecipe']


@dataclass(frozen=True)
class PretrainingRecipe:
    """The numbers with which a kind of GAN is pre-trained, as its authors give them."""

    lr: float = 2e-4
    """Learning rate of Adam, for both networks."""
    betas: tuple[float, float] = (0.0, 0.999)
    """Betas of Adam, for the generator in pre-training and for the discriminator always."""
    discriminator_steps: int = 4
    """Steps of the discriminator before each step of the generator."""


class GAN(AdversarialNetworks):
    """A generator, its moving average and a discriminator that play against each other, and that a file can hold.

    Parameters
    ----------
    generator, discriminator, settings
        As in :class:`~nni_wcnas.tester.adversarial_networks.AdversarialNetworks`.
    structure
        Names of those arguments that shape the networks: a file with other values of them is refused.
    pretrained
        File that pre-training or :meth:`save` wrote.
    """

    recipe = PretrainingRecipe()
    published_width: int = 256
    """Width of the networks of its authors; narrower generators diverge at the papers' learning rates."""
    is_trained: bool = False
    """Whether the generator has learned before the search: in pre-training, or by a file."""

    def __init__(self, generator: nn.Module, discriminator: nn.Module, settings: dict[str, Any],
                 structure: Sequence[str], pretrained: str | Path | None):
        super().__init__(generator, discriminator, settings)
        self._settings, self._structure, self.pretrained = settings, tuple(structure), pretrained
        self._generator_optimizer: SGD | None = None
        self._discriminator_optimizer: Adam | None = None

    @property
    def pauses_in_warmup(self) -> bool:
        """Whether the generator rests while B does: where the discriminator is B and has no optimiser of its own."""
        return self._discriminator_optimizer is None

    # --------------------------------------------------------------------------------------------------------- training

    def optimizers(self, epochs: int, *, learns_b: bool = True) -> list[NamedOptimizer]:
        """Build the optimisers and remember them: SGD with cosine annealing for the generator, Adam for the
        discriminator unless the search learns it as B."""
        settings = self._settings
        # SGD, not the Adam of pre-training: the look-ahead G' of equation 8 is exactly this optimiser's next step.
        self._generator_optimizer, scheduler = cosine_sgd(
            self.generator.parameters(), lr=settings['generator_lr'], momentum=settings['generator_momentum'],
            weight_decay=settings['generator_weight_decay'], min_lr=settings['min_lr'], epochs=epochs)
        found = [NamedOptimizer('generator', self._generator_optimizer, scheduler)]
        # Where S is B, the search ascends its objective in S; a second optimiser would pull S back towards L_S.
        self._discriminator_optimizer = None
        if not (learns_b and self.learns == 'discriminator'):
            self._discriminator_optimizer = Adam(self.discriminator_parameters().values(),
                                                 lr=settings['discriminator_lr'], betas=self.recipe.betas)
            found.append(NamedOptimizer('discriminator', self._discriminator_optimizer))
        return found

    def generator_step(self) -> SGDStep:
        """Return the numbers of the generator's next SGD step, momentum buffers included."""
        return next_step(_built(self._generator_optimizer), self.generator_parameters())

    def adversary_step(self, batch: Batch, *, update_generator: bool) -> Losses:
        """Train the discriminator, if it plays, on ``batch.clean`` and then, if told so, the generator.

        The generator makes as many images as there are real ones; the average becomes a copy of it.
        """
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
        """Take one step of the discriminator; the generator does not change, running statistics included.

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
        # Last: the loss is a function of the buffers as they stand before its batch.
        self.commit(statistics)
        return {'discriminator': loss.detach(), **losses}

    def train_generator(self, count: int, optimizer: Optimizer, *, noise: Noise | None = None,
                        keep: int | None = None) -> Losses:
        """Take one step of pre-training on ``count`` images; the running statistics and the average move with it.

        ``noise`` is drawn by default. The generator learns only from the ``keep`` images that the discriminator finds
        most real, by default from all.
        """
        losses = self._generator_update(self.noise(count) if noise is None else noise, optimizer, keep, None)
        self.average.update_parameters(self.generator)
        self.is_trained = True
        return losses

    def _generator_update(self, noise: Noise, optimizer: Optimizer, keep: int | None, limit: float | None) -> Losses:
        """Take one step of the generator, its gradient clipped to a norm of ``limit``, and :meth:`commit`."""
        # Not through generate(): this is the one place where the running statistics of the live generator move.
        images, labels = self.generator(*noise), noise.labels
        if keep is not None and keep < len(labels):
            # Top-k training: all images share in the batch statistics, the best alone in the loss.
            best = self.realism(images.detach(), labels).topk(keep).indices
            images, labels = images[best], labels[best]
        loss, statistics = self.adversarial_loss(images, labels, {}, None)
        loss = loss + self.penalty(self.generator_parameters())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        clip(self.generator.parameters(), limit)
        optimizer.step()
        self.commit(statistics)
        return {'generator': loss.detach()}

    def train(self, mode: bool = True) -> GAN:
        """Switch all networks but the moving average, which stays in evaluation mode."""
        super().train(mode)  # Switches every submodule, the average as well.
        self.average.eval()
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle by settings and state, as torch pickles no spectral norms; a copy has no optimisers yet."""
        return _rebuilt, (type(self), self._settings, self.pretrained, self.state_dict(), self.training,
                          self.is_trained)

    # ------------------------------------------------------------------------------------------------------------ files

    def settings(self) -> dict[str, Any]:
        """Return the constructor's arguments, with the hyper-parameters as they are by now."""
        return {**self._settings, **self.loss_hyperparameter_values()}

    def pretraining_settings(self) -> dict[str, Any]:
        """Return those of :meth:`settings` that pre-training depends on: all but what acts in a search alone."""
        skipped = [name for name in SEARCH_ONLY if name not in self._structure]
        return {name: value for name, value in self.settings().items() if name not in skipped}

    def save(self, path: str | Path, auxiliary: Auxiliary | None = None) -> None:
        """Write this tester, and the auxiliary model beside it, to a file; atomically."""
        storage.write(path, self.contents(auxiliary))

    def contents(self, auxiliary: Auxiliary | None = None) -> dict[str, Any]:
        """Return what :meth:`save` writes: a dictionary of plain values and state dictionaries."""
        return {'kind': type(self).__name__, 'settings': self.settings(), 'tester': self.state_dict(),
                'auxiliary': auxiliary.state_dict() if auxiliary else None}

    def load(self, path: str | Path) -> None:
        """Take over the networks of a file, with the moving average as G; hyper-parameters and settings stay.

        Raises
        ------
        ValueError
            If the file is damaged or holds a tester of another kind or structure.
        """
        contents = storage.read(path, self.like.device)
        storage.refuse_other_kind(path, contents, type(self).__name__)
        storage.refuse_other(path, contents['settings'], {name: self._settings[name] for name in self._structure})
        # B starts from the arguments of this tester, not from those of the one that was pre-trained.
        kept = {name: value.detach().clone() for name, value in self.loss_hyperparameters().items()}
        try:
            self.load_state_dict({**contents['tester'], **kept})
        except RuntimeError as error:
            raise InvalidFile(
                'pretrained', path, 'pre-train again', reason='does not hold the whole state of a tester'
            ) from error
        self.generator.load_state_dict(self.average.module.state_dict())
        self.is_trained = True


def _real_images(batch: Batch, size: int) -> Tensor:
    """Return the clean images of the batch; raise ValueError if there are none or they have another size."""
    if batch.clean is None:
        raise ValueError('The discriminator learns from clean images in [-1, 1], but the batch has none; '
                         'use a data module of nni_wcnas.data.')
    expected = (len(batch.labels), 3, size, size)
    if batch.clean.shape != expected:
        raise ValueError(f'The tester makes images of shape {expected}, but the real ones have shape '
                         f'{tuple(batch.clean.shape)}; choose image_size to match.')
    return batch.clean


def _built(optimizer: SGD | None) -> SGD:
    """Return the optimiser; raise RuntimeError if there is none yet."""
    if optimizer is None:
        raise RuntimeError('The tester has no optimisers yet; call optimizers(epochs) first.')
    return optimizer


def _rebuilt(kind: type[GAN], settings: dict[str, Any], pretrained: str | Path | None, state: dict[str, Tensor],
             training: bool, is_trained: bool) -> GAN:
    """Build a tester from what :meth:`GAN.__reduce__` kept; the pre-trained file is remembered, not read."""
    tester = kind(**settings)
    tester.pretrained, tester.is_trained = pretrained, is_trained
    # Device and type first: load_state_dict would cast a float64 state to the float32 of a new tester.
    like = next(value for value in state.values() if value.is_floating_point())
    tester.to(like.device, like.dtype).load_state_dict(state)
    return tester.train(training)
