"""Pre-training of a tester: the adversarial game with Adam, then the auxiliary model on real images.

::

    for each of ``steps``: ``discriminator_steps`` discriminator steps on as many batches, one generator step
    for each of ``auxiliary_steps``: one SGD step of the auxiliary model on real images

Two ways of the worst-case search paper (section 3.3) to need fewer steps:

- top-k training: the generator learns from its k images of a batch that the discriminator finds most real. k falls from
  the whole batch by 1 % an epoch, to half of it;
- core-sets: latents and real images of each batch are a diverse selection of ``core_set`` times as many, by
  :func:`nni_wcnas.functional.core_set.core_set`.

Deviation: real images are compared by averaged pixels, where Small-GAN has features of an Inception network.

References
----------
Sinha et al., Top-k Training of GANs, NeurIPS 2020, section 3; Sinha et al., Small-GAN, ICML 2020, algorithm 2; the
game's numbers are those of each kind of GAN, :class:`nni_wcnas.tester.gan.PretrainingRecipe`.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

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

__all__ = ['pretrain']

_logger = logging.getLogger(__name__)

_TRIED = 8
"""Images by which a ruined generator is recognised."""

_DECAY, _LEAST = 0.99, 0.5
"""Of top-k training: k falls by this factor an epoch, to this share of the batch."""


def pretrain(tester: GAN, auxiliary: Auxiliary | None, batches: Callable[[int], Iterable[Batch]], steps: int, *,
             discriminator_steps: int | None = None, lr: float | None = None, auxiliary_steps: int | None = None,
             top_k: bool = False, core_set: int = 1, checkpoint: str | Path | None = None,
             checkpoint_every: int = 250, resume: bool = False, progress: bool = True) -> dict[str, float]:
    """Train generator, discriminator and dictionaries, then the auxiliary model.

    Parameters
    ----------
    tester, auxiliary
        What to train, in place; without an auxiliary model only the game is played.
    batches
        Gives the batches of an epoch; their ``clean`` images and labels are used, on the tester's device or not.
    steps
        Generator steps.
    discriminator_steps
        Discriminator steps, each on its own batch, before each generator step; by default those of the GAN's authors.
    lr
        Adam's rate for both networks; by default that of the GAN's authors. Small ones learn sooner with 1e-3 and two
        discriminator steps: at width 32 and 16 pixels, digits were recognisable and of the class asked for after 300
        steps, with the defaults not yet.
    auxiliary_steps
        Steps of the auxiliary model; by default as many as generator steps, but at most 1000.
    top_k
        Let the generator learn from its best images of a batch only.
    core_set
        Of how many times as many latents and real images each batch is a selection; 1 selects nothing.
    checkpoint
        File for ``FQGAN(pretrained=...)``, or of its kind; written every ``checkpoint_every`` steps and at the end,
        with all that resuming needs.
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
        If ``resume`` is asked for without a checkpoint, or the checkpoint was made with other networks, rates or
        discriminator steps.
    RuntimeError
        If a loss is not finite, or the generator is ruined: the file, if there is one, stays as it was.
    """
    recipe = tester.recipe
    discriminator_steps = recipe.discriminator_steps if discriminator_steps is None else discriminator_steps
    settings = {'discriminator_steps': discriminator_steps, 'lr': recipe.lr if lr is None else lr, 'top_k': top_k,
                'core_set': core_set}
    if steps < 1 or discriminator_steps < 1 or checkpoint_every < 1 or core_set < 1:
        raise ValueError('steps, discriminator_steps, checkpoint_every and core_set must be at least 1, '
                         f'but are {steps}, {discriminator_steps}, {checkpoint_every} and {core_set}.')
    if auxiliary is None:
        auxiliary_steps = 0
    elif auxiliary_steps is None:
        auxiliary_steps = min(steps, 1000)
    tester.train()
    run = _Run(tester, auxiliary, BatchStream(batches), settings)
    if resume:
        run.resume(checkpoint)
    total = steps + auxiliary_steps
    bar = tqdm(total=total, initial=min(run.done, total), disable=not progress, desc='pre-training', unit='step')
    with bar:
        while run.played < steps or run.taught < auxiliary_steps:
            losses = run.play() if run.played < steps else run.teach()
            bar.update()
            bar.set_postfix(losses)
            if run.done % checkpoint_every == 0 or run.done == total:
                run.refuse_saturation()
                if checkpoint is not None:
                    run.write(checkpoint)
    return run.losses


class _Run:
    """All that changes during pre-training."""

    def __init__(self, tester: GAN, auxiliary: Auxiliary | None, stream: BatchStream, settings: dict[str, Any]):
        self.tester, self.auxiliary, self.stream, self.settings = tester, auxiliary, stream, settings
        self.played = self.taught = 0
        self.losses: dict[str, float] = {}
        self.optimizers: dict[str, Optimizer] = {
            name: Adam(parameters.values(), lr=settings['lr'], betas=tester.recipe.betas)
            for name, parameters in (('generator', tester.generator_parameters()),
                                     ('discriminator', tester.discriminator_parameters()))
        }
        if auxiliary is not None:
            self.optimizers |= {named.name: named.optimizer for named in auxiliary.optimizers(epochs=1)}

    @property
    def done(self) -> int:
        """Steps of both kinds."""
        return self.played + self.taught

    def play(self) -> dict[str, float]:
        """One generator step and the discriminator steps before it."""
        for _ in range(self.settings['discriminator_steps']):
            batch = self._selected_batch()
            noise = self._selected_noise(len(batch.labels))
            losses = self.tester.train_discriminator(batch, self.optimizers['discriminator'], noise)
        count = len(batch.labels)
        keep = max(1, round(count * max(_DECAY ** self.stream.epoch, _LEAST))) if self.settings['top_k'] else None
        losses |= self.tester.train_generator(count, self.optimizers['generator'], noise=self._selected_noise(count),
                                              keep=keep)
        self.losses |= _finite(losses)
        self.played += 1
        return self.losses

    def teach(self) -> dict[str, float]:
        """One step of the auxiliary model on real images."""
        batch = self._batch()
        if self.auxiliary is not None and batch.clean is not None:
            self.losses |= _finite({'auxiliary': self.auxiliary.train_step(batch.clean, batch.labels)})
        self.taught += 1
        return self.losses

    @torch.no_grad()
    def refuse_saturation(self) -> None:
        """Stop a generator that can learn no more: where every pixel is -1 or 1 to the last bit, its derivative is 0.

        Its losses may be finite all the same: Adam moves each weight by the learning rate, whatever the gradient.
        """
        random = random_state()
        images = self.tester.generate(self.tester.noise(_TRIED))
        restore_random_state(random)
        if not (images.isfinite() & (images.abs() < 1)).any():
            raise RuntimeError('The tester has diverged: every pixel of its images is saturated; lower lr.')

    def write(self, path: str | Path) -> None:
        """Write the file, with the state of this run beside the tester."""
        training = {
            'settings': self.settings, 'played': self.played, 'taught': self.taught, 'losses': dict(self.losses),
            'stream': self.stream.state(), 'random': random_state(),
            'optimizers': {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
        }
        storage.write(path, {**self.tester.contents(self.auxiliary), 'training': training})

    def resume(self, path: str | Path | None) -> None:
        """Continue the run of a file; without the file, begin."""
        if path is None:
            raise ValueError('There is nothing to resume from; pass checkpoint as well.')
        if not Path(path).exists():
            _logger.info('%s does not exist; pre-training starts from the beginning.', path)
            return
        contents = storage.read(path, self.tester.like.device)
        if 'training' not in contents:
            raise ValueError(f'{path} was not written by pre-training and cannot be resumed; '
                             'pass it as pretrained instead.')
        training = contents['training']
        storage.refuse_other(path, contents['settings'], self.tester.settings())
        storage.refuse_other(path, training['settings'], self.settings)
        self.tester.load_state_dict(contents['tester'])
        if (contents['auxiliary'] is None) != (self.auxiliary is None):
            raise ValueError(f'{path} was written {"without" if self.auxiliary else "with"} an auxiliary model; '
                             'pre-train again or resume alike.')
        if self.auxiliary is not None:
            self.auxiliary.load_state_dict(contents['auxiliary'])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(training['optimizers'][name])
        self.played, self.taught, self.losses = training['played'], training['taught'], training['losses']
        self.stream.restore(training['stream'])
        restore_random_state(training['random'])

    def _selected_noise(self, count: int) -> Noise:
        """Noise of ``count`` images, with latents as different as may be."""
        noise = self.tester.noise(self.settings['core_set'] * count)
        if self.settings['core_set'] == 1:
            return noise
        chosen = chosen_points(noise.latent[:, :self.tester.latent], count)
        return Noise(noise.latent[chosen], noise.labels[chosen])

    def _selected_batch(self) -> Batch:
        """The next batch, with images as different as may be out of the next few batches."""
        batches = [self._batch() for _ in range(self.settings['core_set'])]
        if len(batches) == 1 or any(batch.clean is None for batch in batches):
            return batches[0]
        clean: Tensor = torch.cat([batch.clean for batch in batches if batch.clean is not None])
        chosen = chosen_points(embedded(clean), len(batches[0].labels))
        labels = torch.cat([batch.labels for batch in batches])
        return Batch(clean[chosen], labels[chosen], None, clean[chosen])

    def _batch(self) -> Batch:
        """The next batch, on the tester's device."""
        batch, like = next(self.stream), self.tester.like
        clean = None if batch.clean is None else batch.clean.to(like.device, like.dtype)
        return batch._replace(labels=batch.labels.to(like.device), clean=clean)


def _finite(losses: Losses) -> dict[str, float]:
    """The losses as numbers; stops a diverged run."""
    values = {name: loss.item() for name, loss in losses.items()}
    for name, value in values.items():
        if not math.isfinite(value):
            raise RuntimeError(f'The tester has diverged: its {name} loss is {value}; lower lr.')
    return values
