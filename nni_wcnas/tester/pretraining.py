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

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tqdm import tqdm

from nni_wcnas.contracts import Auxiliary, Batch
from nni_wcnas.errors import InvalidArgument
from nni_wcnas.functional.random_state import random_state, restore_random_state
from nni_wcnas.tester.batch_stream import BatchStream
from nni_wcnas.tester.gan import GAN
from nni_wcnas.tester.pretraining_lengths import lengths
from nni_wcnas.tester.pretraining_run import PretrainingRun
from nni_wcnas.tester.real_images import ImagePolicy

__all__ = ['pretrain']


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
        raise InvalidArgument('checkpoint_every', checkpoint_every, 'be at least 1')
    played, taught = lengths(
        isinstance(tester, GAN), auxiliary is not None, steps=steps, epochs=epochs, auxiliary_steps=auxiliary_steps,
        auxiliary_epochs=auxiliary_epochs, batches_of_an_epoch=lambda: _count(batches),
        batches_of_a_step=settings.get('discriminator_steps', 1) * settings.get('core_set', 1))
    # Batch norms and spectral norms work as in the search, which trains these networks on.
    tester.train()
    run = PretrainingRun(tester, auxiliary, BatchStream(batches), settings)
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
    for name, value in (('discriminator_steps', discriminator_steps), ('core_set', core_set)):
        if value < 1:
            raise InvalidArgument(name, value, 'be at least 1')
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
