"""Pre-training of a tester: the adversarial game with Adam, then the auxiliary model on real images.

::

    for each of ``steps``: ``discriminator_steps`` discriminator steps on as many batches, one generator step
    for each of ``auxiliary_steps``: one SGD step of the auxiliary model on real images, at its first rate

Beside a policy, or with ``steps=0``, the auxiliary model alone is trained. A file that exists and is complete is left
as it is, so that ``pretrain(..., checkpoint=path, resume=True)`` makes it once, whoever calls it.

The worst-case search paper (section 3.3) has two ways to need fewer steps:

- top-k training: the generator learns from the k images of its batch that the discriminator finds most real. k falls
  from the whole batch by 1 % an epoch, to half of it;
- core-sets: latents and real images of each batch are a diverse selection out of ``core_set`` times as many, by
  :func:`nni_wcnas.functional.core_set.core_set`.

Deviation: real images are compared by averaged pixels, where Small-GAN has features of an Inception network.

References
----------
papers/wcnas, section 3.3; Sinha et al., Top-k Training of GANs, NeurIPS 2020, section 3; Sinha et al., Small-GAN, ICML
2020, algorithm 2; the game's numbers are those of each kind of GAN, :class:`nni_wcnas.tester.gan.PretrainingRecipe`.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from torch.optim import Adam, Optimizer
from tqdm import tqdm

from nni_wcnas.contracts import Auxiliary, Batch, Losses, Noise
from nni_wcnas.functional.core_set import core_set as chosen_points
from nni_wcnas.functional.core_set import embedded
from nni_wcnas.tester import storage
from nni_wcnas.tester.batch_stream import (
    BatchStream,
    random_state,
    restore_random_state,
)
from nni_wcnas.tester.gan import GAN
from nni_wcnas.tester.pretraining_lengths import lengths
from nni_wcnas.tester.real_images import ImagePolicy

__all__ = ['pretrain']

_logger = logging.getLogger(__name__)

_TRIED = 8
"""Number of images by which a ruined generator is recognised."""

_DECAY, _LEAST = 0.99, 0.5
"""In top-k training k falls by this factor an epoch, down to this share of the batch: the values of Sinha et al."""


def pretrain(tester: GAN | ImagePolicy, auxiliary: Auxiliary | None, batches: Callable[[int], Iterable[Batch]],
             steps: int | None = None, *, epochs: int | None = None, discriminator_steps: int | None = None,
             lr: float | None = None, auxiliary_steps: int | None = None, auxiliary_epochs: int | None = None,
             top_k: bool = False, core_set: int = 1, checkpoint: str | Path | None = None,
             checkpoint_every: int = 250, resume: bool = False, progress: bool = True) -> dict[str, float]:
    """Train generator, discriminator and dictionaries, then the auxiliary model.

    Parameters
    ----------
    tester, auxiliary
        What to train, in place. Without an auxiliary model only the adversarial game is played; beside a policy only
        the auxiliary model is trained.
    batches
        Returns the batches of an epoch, given its number from 0. Their ``clean`` images and labels are used, and are
        moved to the tester's device.
    steps, epochs
        Length in generator steps, or in passes over the batches; 1000 steps by default. A step uses up
        ``discriminator_steps`` times ``core_set`` batches.
    discriminator_steps
        Discriminator steps, each on its own batch, before each generator step; by default those of the GAN's authors.
    lr
        Adam's rate for both networks; by default that of the GAN's authors. Small ones learn sooner with 1e-3 and two
        discriminator steps: at width 32 and 16 pixels, digits were recognisable and of the class asked for after 300
        steps, with the defaults not yet.
    auxiliary_steps, auxiliary_epochs
        Length in steps of the auxiliary model, or in passes over the batches; by default as many steps as the generator
        has, or 1000 without a generator.
    top_k
        Let the generator learn from its best images of a batch only.
    core_set
        Each batch is selected from this many times as many latents and real images; 1 selects nothing.
    checkpoint
        File to write, which the tester or the auxiliary model takes as ``pretrained``. It is written every
        ``checkpoint_every`` steps and at the end, with the seconds so far and all that resuming needs.
    resume
        Continue from the checkpoint, if there is one: on a CPU to the same bits as without interruption. With more
        ``steps`` than before, a finished run goes on: the generator first, then the auxiliary model.
    progress
        Show a bar with the losses.

    Returns
    -------
    The last loss of each network, by name.

    Raises
    ------
    ValueError
        If a number is out of its range, or is of a generator and there is none; if ``resume`` is asked for without a
        checkpoint, or the checkpoint was made with other networks or numbers.
    RuntimeError
        If a loss is not finite, or the generator is ruined: the file, if there is one, stays as it was.
    """
    settings = _game(tester, discriminator_steps, lr, top_k, core_set)
    if not isinstance(tester, GAN) and (steps or epochs):
        raise ValueError(_idle(tester, 'steps' if steps else 'epochs'))
    if checkpoint_every < 1:
        raise ValueError(f'checkpoint_every must be at least 1, but is {checkpoint_every}.')
    played, taught = lengths(
        isinstance(tester, GAN), auxiliary is not None, steps=steps, epochs=epochs, auxiliary_steps=auxiliary_steps,
        auxiliary_epochs=auxiliary_epochs, batches_of_an_epoch=lambda: _count(batches),
        batches_of_a_step=settings.get('discriminator_steps', 1) * settings.get('core_set', 1))
    # Batch norms and spectral norms work as in the search, which trains these networks on.
    tester.train()
    run = _Run(tester, auxiliary, BatchStream(batches), settings)
    if resume:
        run.resume(checkpoint)
    total = played + taught
    bar = tqdm(total=total, initial=min(run.done, total), disable=not progress, desc='pre-training', unit='step')
    with bar:
        while run.played < played or run.taught < taught:
            # All of the game first. A tied auxiliary model learns on the trunk that the game leaves behind.
            losses = run.play() if run.played < played else run.teach()
            bar.update()
            bar.set_postfix(losses)
            if run.done % checkpoint_every == 0 or run.done == total:
                # Before writing, so that a ruined run never replaces a good file.
                run.refuse_saturation()
                if checkpoint is not None:
                    run.write(checkpoint)
    return run.losses


def _game(tester: GAN | ImagePolicy, discriminator_steps: int | None, lr: float | None, top_k: bool,
          core_set: int) -> dict[str, Any]:
    """Return the numbers of the adversarial game by name; beside a policy there are none, and giving one is refused."""
    if not isinstance(tester, GAN):
        # core_set counts from 1, which is no selection, so that 1 less is falsy like the others.
        given = {'discriminator_steps': discriminator_steps, 'lr': lr, 'top_k': top_k, 'core_set': core_set - 1}
        for name, value in given.items():
            if value:
                raise ValueError(_idle(tester, name))
        return {}
    recipe = tester.recipe
    discriminator_steps = recipe.discriminator_steps if discriminator_steps is None else discriminator_steps
    if discriminator_steps < 1 or core_set < 1:
        raise ValueError('discriminator_steps and core_set must be at least 1, '
                         f'but are {discriminator_steps} and {core_set}.')
    return {'discriminator_steps': discriminator_steps, 'lr': recipe.lr if lr is None else lr, 'top_k': top_k,
            'core_set': core_set}


def _idle(tester: GAN | ImagePolicy, name: str) -> str:
    """Return the message for an argument that does nothing beside a policy."""
    return f'{name} is of a generator, and {type(tester).__name__} has none; leave it out, or give auxiliary_steps.'


def _count(batches: Callable[[int], Iterable[Batch]]) -> int:
    """Count the batches of an epoch; the random state stays as it was."""
    # A loader knows its length, a generator has to be run through, which may draw random numbers.
    random = random_state()
    epoch: Any = batches(0)
    count = len(epoch) if hasattr(epoch, '__len__') else sum(1 for _ in epoch)
    restore_random_state(random)
    return count


class _Run:
    """The state of a pre-training: networks, optimisers, position and losses, all that a checkpoint holds."""

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
        """Raise RuntimeError if the generator can learn no more: where every pixel is -1 or 1, the slope of tanh is 0.

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
            raise RuntimeError('The tester has diverged: every pixel of its images is saturated; lower lr.')

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
    """Return the losses as numbers; raise RuntimeError if one is not finite."""
    values = {name: loss.item() for name, loss in losses.items()}
    for name, value in values.items():
        if not math.isfinite(value):
            raise RuntimeError(f'The tester has diverged: its {name} loss is {value}; lower lr.')
    return values
