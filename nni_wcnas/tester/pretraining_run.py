"""The state of a pre-training, and its two kinds of steps: of the adversarial game, and of the auxiliary model."""

from __future__ import annotations

import logging
import math
import time
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from torch.optim import Adam, Optimizer

from nni_wcnas.contracts import Auxiliary, Batch, Losses, Noise
from nni_wcnas.errors import DivergedError
from nni_wcnas.functional.core_set import core_set as chosen_points
from nni_wcnas.functional.core_set import embedded
from nni_wcnas.functional.random_state import random_state, restore_random_state
from nni_wcnas.tester import storage
from nni_wcnas.tester.batch_stream import BatchStream
from nni_wcnas.tester.gan import GAN
from nni_wcnas.tester.real_images import ImagePolicy

__all__ = ['PretrainingRun']

_logger = logging.getLogger(__name__)

_TRIED = 8
"""Number of images by which a ruined generator is recognised."""

_DECAY, _LEAST = 0.99, 0.5
"""In top-k training k falls by this factor an epoch, down to this share of the batch: the values of Sinha et al."""


class PretrainingRun:
    """Networks, optimisers, position and losses of a pre-training: all that its checkpoint holds.

    Parameters
    ----------
    tester, auxiliary
        What to train, in place.
    stream
        The batches, epoch after epoch.
    settings
        Numbers of the adversarial game by name; empty where no game is played.
    """

    def __init__(self, tester: GAN | ImagePolicy, auxiliary: Auxiliary | None, stream: BatchStream,
                 settings: dict[str, Any]):
        self.tester, self.auxiliary, self.stream = tester, auxiliary, stream
        self.played = self.taught = 0
        self.seconds = {'generator': 0.0, 'auxiliary': 0.0}
        self.losses: dict[str, float] = {}
        self.optimizers: dict[str, Optimizer] = {}
        if isinstance(tester, GAN):
            # Not tester.optimizers(), which are those of a search.
            self.optimizers |= {
                name: Adam(parameters.values(), lr=settings['lr'], betas=tester.recipe.betas)
                for name, parameters in (('generator', tester.generator_parameters()),
                                         ('discriminator', tester.discriminator_parameters()))
            }
        # The schedule is never stepped: the auxiliary model is pre-trained at its first rate.
        self.rates: dict[str, Any] = {}
        for named in [] if auxiliary is None else auxiliary.optimizers(epochs=1):
            self.optimizers[named.name] = named.optimizer
            group = named.optimizer.param_groups[0]
            self.rates |= {f'{named.name}_{key}': group[key] for key in ('lr', 'momentum', 'weight_decay')
                           if key in group}
        self.settings = {**settings, **self.rates}

    @property
    def done(self) -> int:
        """Number of steps so far, of the game and of the auxiliary model together."""
        return self.played + self.taught

    @property
    def gan(self) -> GAN:
        """The tester, which is a GAN wherever a game is played."""
        return cast(GAN, self.tester)

    def play(self) -> dict[str, float]:
        """Take one generator step and the discriminator steps before it; return the last losses by name."""
        started = time.monotonic()
        for _ in range(self.settings['discriminator_steps']):
            batch = self._selected_batch()
            noise = self._selected_noise(len(batch.labels))  # As many images as real ones, new in every step.
            losses = self.gan.train_discriminator(batch, self.optimizers['discriminator'], noise)
        count = len(batch.labels)
        # k = batch * max(0.99^epoch, 1/2), rounded.
        keep = max(1, round(count * max(_DECAY ** self.stream.epoch, _LEAST))) if self.settings['top_k'] else None
        losses |= self.gan.train_generator(count, self.optimizers['generator'], noise=self._selected_noise(count),
                                           keep=keep)
        self.losses |= _finite(losses)
        self.played += 1
        self.seconds['generator'] += time.monotonic() - started
        return self.losses

    def teach(self) -> dict[str, float]:
        """Take one step of the auxiliary model on real images; return the last losses by name."""
        started = time.monotonic()
        batch = self._batch()
        if self.auxiliary is not None and batch.clean is not None:
            self.losses |= _finite({'auxiliary': self.auxiliary.train_step(batch.clean, batch.labels)})
        self.taught += 1
        self.seconds['auxiliary'] += time.monotonic() - started
        return self.losses

    @torch.no_grad()
    def refuse_saturation(self) -> None:
        """Raise DivergedError if the generator can learn no more: where every pixel is -1 or 1, the slope of tanh is 0.

        Its losses may be finite all the same: Adam moves each weight by the learning rate, whatever the gradient.
        """
        if not isinstance(self.tester, GAN):
            return
        # Around it the random state is kept, so that checking more often changes nothing.
        random = random_state()
        images = self.tester.generate(self.tester.noise(_TRIED))
        restore_random_state(random)
        # One pixel that is finite and inside (-1, 1) is enough.
        if not (images.isfinite() & (images.abs() < 1)).any():
            raise DivergedError(
                'The tester has diverged: every pixel of its images is saturated', 'lower lr', 'generator'
            )

    def write(self, path: str | Path) -> None:
        """Write the checkpoint: the tester, the auxiliary model, and the state of this run."""
        training = {
            'settings': self.settings, 'played': self.played, 'taught': self.taught, 'losses': dict(self.losses),
            'stream': self.stream.state(), 'random': random_state(),
            'optimizers': {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
        }
        contents = self.tester.contents(self.auxiliary)
        storage.write(path, {**contents, 'seconds': dict(self.seconds), 'training': training})

    def resume(self, path: str | Path | None) -> None:
        """Continue the run of a checkpoint; where there is no such file, begin a new run."""
        if path is None:
            raise ValueError('There is nothing to resume from; pass checkpoint as well.')
        if not Path(path).exists():
            _logger.info('%s does not exist; pre-training starts from the beginning.', path)
            return
        contents = storage.read(path, self._like.device)
        if 'training' not in contents:
            raise ValueError(f'{path} was not written by pre-training and cannot be resumed; '
                             'pass it as pretrained instead.')
        training = contents['training']
        storage.refuse_other_kind(path, contents, type(self.tester).__name__)
        storage.refuse_other(path, contents['settings'], self.tester.pretraining_settings())
        # A file without the auxiliary model's rates counts as made with today's.
        storage.refuse_other(path, {**self.rates, **training['settings']}, self.settings)
        # All settings agree: from here on the run is changed in place.
        self._load(path, contents)
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(training['optimizers'][name])
        self.played, self.taught, self.losses = training['played'], training['taught'], training['losses']
        self.seconds |= contents.get('seconds', {})
        # The stream before the random state, which its skipped batches would move.
        self.stream.restore(training['stream'])
        restore_random_state(training['random'])

    def _load(self, path: str | Path, contents: dict[str, Any]) -> None:
        """Load the state of the tester and of the auxiliary model; a policy stays as it is."""
        if (contents['auxiliary'] is None) != (self.auxiliary is None):
            raise ValueError(f'{path} was written {"without" if self.auxiliary else "with"} an auxiliary model; '
                             'pre-train again or resume alike.')
        if self.auxiliary is not None:
            # By shapes, as load_state_dict would name every tensor that differs.
            if storage.shapes(self.auxiliary.state_dict()) != storage.shapes(contents['auxiliary']):
                raise ValueError(f'{path} holds another auxiliary model; resume with the one that it was made with, or '
                                 'pre-train again.')
            self.auxiliary.load_state_dict(contents['auxiliary'])
        if isinstance(self.tester, GAN):
            self.tester.load_state_dict(contents['tester'])
            self.tester.is_trained = contents['training']['played'] > 0

    def _selected_noise(self, count: int) -> Noise:
        """Draw the noise of ``count`` images, with latents that differ as much as possible if there is a core-set."""
        noise = self.gan.noise(self.settings['core_set'] * count)
        if self.settings['core_set'] == 1:
            return noise
        # Of the latent alone: noise of a generator's layers, which may lie behind it, does not count as a difference.
        chosen = chosen_points(noise.latent[:, :self.gan.latent], count)
        return Noise(noise.latent[chosen], noise.labels[chosen])

    def _selected_batch(self) -> Batch:
        """Return the next batch or, with a core-set, the most different images of the next few batches."""
        batches = [self._batch() for _ in range(self.settings['core_set'])]
        if len(batches) == 1 or any(batch.clean is None for batch in batches):
            return batches[0]
        clean: Tensor = torch.cat([batch.clean for batch in batches if batch.clean is not None])
        # (core_set N, 3, H, W) -> points (core_set N, 32) -> the indices of N of them.
        chosen = chosen_points(embedded(clean), len(batches[0].labels))
        labels = torch.cat([batch.labels for batch in batches])
        # The game reads clean images and labels only: augmented images and positions are not carried over.
        return Batch(clean[chosen], labels[chosen], None, clean[chosen])

    @property
    def _like(self) -> Tensor:
        """A tensor of the tester's device and floating-point type."""
        return next(self.tester.parameters())

    def _batch(self) -> Batch:
        """Return the next batch, with labels and clean images on the tester's device."""
        batch, like = next(self.stream), self._like
        clean = None if batch.clean is None else batch.clean.to(like.device, like.dtype)
        return batch._replace(labels=batch.labels.to(like.device), clean=clean)


def _finite(losses: Losses) -> dict[str, float]:
    """Return the losses as numbers; raise DivergedError if one is not finite."""
    values = {name: loss.item() for name, loss in losses.items()}
    for name, value in values.items():
        if not math.isfinite(value):
            raise DivergedError(f'The tester has diverged: its {name} loss is {value}', 'lower lr', name)
    return values
