"""Pre-training of a tester: the adversarial game with FQ-GAN's own Adam, then the auxiliary model on real images.

::

    for each of ``steps``: ``discriminator_steps`` discriminator steps on as many batches, one generator step
    for each of ``auxiliary_steps``: one SGD step of the auxiliary model on real images

Deviations from the worst-case search paper: neither Small-GAN core-sets nor top-k training.

References
----------
Zhao et al., Feature Quantization Improves GAN Training, 2020; the recipe is BigGAN's for CIFAR-10.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch.optim import Adam, Optimizer
from tqdm import tqdm

from nni_wcnas.contracts import Auxiliary, Batch, Losses
from nni_wcnas.tester import storage
from nni_wcnas.tester.batch_stream import (
    BatchStream,
    random_state,
    restore_random_state,
)
from nni_wcnas.tester.fq_gan import ADAM_BETAS, FQGAN

__all__ = ['pretrain']

_logger = logging.getLogger(__name__)

_TRIED = 8
"""Images by which a ruined generator is recognised."""


def pretrain(tester: FQGAN, auxiliary: Auxiliary | None, batches: Callable[[int], Iterable[Batch]], steps: int, *,
             discriminator_steps: int = 4, lr: float = 2e-4, auxiliary_steps: int | None = None,
             checkpoint: str | Path | None = None, checkpoint_every: int = 250, resume: bool = False,
             progress: bool = True) -> dict[str, float]:
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
        Discriminator steps, each on its own batch, before each generator step.
    lr
        Adam's rate for both networks. Small ones learn sooner with 1e-3 and two discriminator steps: at width 32 and 16
        pixels, digits were recognisable and of the class asked for after 300 steps, with the defaults not yet.
    auxiliary_steps
        Steps of the auxiliary model; by default as many as generator steps, but at most 1000.
    checkpoint
        File for ``FQGAN(pretrained=...)``; written every ``checkpoint_every`` steps and at the end, with all that
        resuming needs.
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
    if steps < 1 or discriminator_steps < 1 or checkpoint_every < 1:
        raise ValueError('steps, discriminator_steps and checkpoint_every must be at least 1, '
                         f'but are {steps}, {discriminator_steps} and {checkpoint_every}.')
    if auxiliary is None:
        auxiliary_steps = 0
    elif auxiliary_steps is None:
        auxiliary_steps = min(steps, 1000)
    tester.train()
    run = _Run(tester, auxiliary, BatchStream(batches), {'discriminator_steps': discriminator_steps, 'lr': lr})
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

    def __init__(self, tester: FQGAN, auxiliary: Auxiliary | None, stream: BatchStream, settings: dict[str, Any]):
        self.tester, self.auxiliary, self.stream, self.settings = tester, auxiliary, stream, settings
        self.played = self.taught = 0
        self.losses: dict[str, float] = {}
        self.optimizers: dict[str, Optimizer] = {
            'generator': Adam(tester.generator.parameters(), lr=settings['lr'], betas=ADAM_BETAS),
            'discriminator': Adam(tester.discriminator.parameters(), lr=settings['lr'], betas=ADAM_BETAS),
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
            batch = self._batch()
            losses = self.tester.train_discriminator(batch, self.optimizers['discriminator'])
        losses |= self.tester.train_generator(len(batch.labels), self.optimizers['generator'])
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
        contents = storage.read(path, self.tester.b1.device)
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

    def _batch(self) -> Batch:
        """The next batch, on the tester's device."""
        batch = next(self.stream)
        device = self.tester.b1.device
        clean = None if batch.clean is None else batch.clean.to(device, self.tester.b1.dtype)
        return batch._replace(labels=batch.labels.to(device), clean=clean)


def _finite(losses: Losses) -> dict[str, float]:
    """The losses as numbers; stops a diverged run."""
    values = {name: loss.item() for name, loss in losses.items()}
    for name, value in values.items():
        if not math.isfinite(value):
            raise RuntimeError(f'The tester has diverged: its {name} loss is {value}; lower lr.')
    return values
