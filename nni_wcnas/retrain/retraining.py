"""Train a found architecture from scratch, as the papers do, to the same bits whether or not it was interrupted.

Learning rate, drop path, batches and random state are functions of the epoch and of the seeds. So a checkpoint need
only hold the weights, the momentum buffers and the history, and an interrupted training goes on from the last whole
epoch as if nothing had happened. Lightning's own resume is not used: it saves an epoch before the schedule moved on.

The same bits need the same CPU and number of threads; those of several devices are others than one device's, see
:mod:`nni_wcnas.retrain.devices`. Deviation from the papers' code: no epoch looks at test data;
measure the result with :func:`nni_wcnas.measure.measures.measure`. The papers' numbers are in
:mod:`nni_wcnas.retrain.recipe`.
"""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import nn

from nni_wcnas.files.run_directory import RunDirectory
from nni_wcnas.functional.random_state import untouched_random_state
from nni_wcnas.network.cell_network import CellNetwork, count_macs
from nni_wcnas.retrain.checkpoint import RetrainingError, identity_of, read_checkpoint
from nni_wcnas.retrain.devices import check_devices, train_on_devices
from nni_wcnas.retrain.job import Job
from nni_wcnas.retrain.recipe import RetrainingRecipe, make_recipe
from nni_wcnas.retrain.step import RetrainData, Retraining, epoch_seed
from nni_wcnas.spaces.architecture import Architecture

__all__ = [
    'RetrainData', 'Retraining', 'RetrainingError', 'RetrainingRecipe', 'RetrainingResult', 'build_network', 'prepare',
    'retrain', 'train', 'with_stem',
]


@dataclass(frozen=True)
class RetrainingResult:
    """The result of a retraining.

    Parameters
    ----------
    network
        The trained network, in evaluation mode.
    history
        One row an epoch: ``epoch``, ``loss`` and ``accuracy`` (mean over the epoch, in training mode), ``lr``,
        ``drop_path``.
    directory
        The run folder, if the retraining keeps files.
    """

    network: nn.Module
    history: list[dict[str, float]] = field(default_factory=list)
    directory: RunDirectory | None = None


def retrain(architecture: Architecture | nn.Module, data: RetrainData, *, recipe: str | None = None,
            part: Literal['train', 'weights'] = 'train', directory: str | os.PathLike[str] | None = None,
            resume: bool = False, accelerator: str = 'auto', devices: int = 1, progress: bool = True,
            **numbers: Any) -> RetrainingResult:
    """Train an architecture from scratch; the caller's random state stays as it was.

    Parameters
    ----------
    architecture
        A found pair of cells, or a network to train in place. A network ignores ``channels``, ``cells``, ``stem`` and,
        unless it has ``set_drop_path`` (ours) or ``set_drop_path_prob`` (NNI hub's), ``drop_path``.
    data
        E.g. a :class:`nni_wcnas.data.ImageData` with ``cutout=16``.
    recipe
        One of :data:`nni_wcnas.retrain.recipe.RETRAINING_RECIPES`, which also names its arguments of the data; None
        for DARTS's on CIFAR-10.
    part
        ``'train'``: both halves; ``'weights'``: only the half that trained the supernet's weights.
    directory
        A folder of its own for ``checkpoints/last.ckpt`` and ``metrics.csv``, written each epoch; None writes nothing.
    resume
        Go on from the checkpoint in ``directory``, if there is one.
    accelerator
        As in Lightning's Trainer.
    devices
        How many devices share each batch, on this machine: GPUs, or processes with ``accelerator='cpu'``. More than one
        data with ``shared_out``, as ours, and a script that keeps its calls behind ``if __name__ == '__main__'``: see
        :mod:`nni_wcnas.retrain.devices`.
    progress
        Whether to show a progress bar.
    numbers
        Fields of :class:`RetrainingRecipe`, in the place of the recipe's own.

    Returns
    -------
    RetrainingResult
        The network after the last epoch, and the history of all of them.

    Raises
    ------
    RetrainingError
        If the checkpoint is damaged or of another training, or ``directory`` has one and ``resume`` is False.
    ValueError
        If an argument is out of range, the network has more multiply-adds than the recipe allows, or there are no
        batches.
    KeyboardInterrupt
        On Ctrl-C; the last whole epoch is in the checkpoint.
    """
    chosen = make_recipe(recipe, **numbers)  # Refuses impossible numbers.
    return train(prepare(architecture, data, chosen, part=part, directory=directory, resume=resume,
                         accelerator=accelerator, devices=devices, progress=progress))


def prepare(architecture: Architecture | nn.Module, data: RetrainData, recipe: RetrainingRecipe, *,
            part: Literal['train', 'weights'] = 'train', directory: str | os.PathLike[str] | None = None,
            resume: bool = False, accelerator: str = 'auto', devices: int = 1, progress: bool = True) -> Job:
    """Make all checks of a retraining, build its network and read its checkpoint; nothing is written or trained.

    The caller's random state stays as it was. Arguments and errors are those of :func:`retrain`.

    Returns
    -------
    Job
        What :func:`train` trains.
    """
    if part not in ('train', 'weights'):
        raise ValueError(f"part is {part!r}: give 'train' or 'weights'")
    if resume and directory is None:
        raise ValueError('resume is True, but there is no directory to resume from: give one')
    check_devices(devices, accelerator, data)
    run = None if directory is None else RunDirectory(directory)
    # Weights are drawn from a state that depends on the seed alone.
    with untouched_random_state(epoch_seed(recipe.seed, 0)):
        network = build_network(architecture, data, recipe)
    identity = identity_of(architecture, network, data, recipe, part, devices)
    # Read here, so that a refusal comes before any work.
    checkpoint = read_checkpoint(run, resume, identity) or {}
    return Job(network, data, recipe, part, run, identity, accelerator, progress, devices, checkpoint)


def train(job: Job) -> RetrainingResult:
    """Train what :func:`prepare` returns; the caller's random state stays as it was.

    Raises
    ------
    ValueError
        If there are no batches.
    KeyboardInterrupt
        On Ctrl-C; the last whole epoch is in the checkpoint.
    """
    # What is drawn before the first epoch sets its own state depends on the seed alone.
    with untouched_random_state(epoch_seed(job.recipe.seed, 0)):
        # A finished training needs no further processes to load it.
        history = job.train() if job.devices == 1 or job.is_finished else train_on_devices(job)
    return RetrainingResult(job.network.eval(), history, job.run)


def with_stem(architecture: Architecture, stem: str | None) -> Architecture:
    """Return the same cells behind another stem, ``'cifar'`` or ``'imagenet'``; None keeps the one they have."""
    if stem is None or architecture.arguments.get('stem', 'cifar') == stem:
        return architecture
    return dataclasses.replace(architecture, arguments={**architecture.arguments, 'stem': stem})


def build_network(architecture: Architecture | nn.Module, data: RetrainData, recipe: RetrainingRecipe) -> nn.Module:
    """Build the network that a recipe trains, with weights drawn from torch's random state; a given one stays as it is.

    Raises
    ------
    ValueError
        If the network has more multiply-adds than the recipe allows, or the data do not tell the size of an image.
    """
    if isinstance(architecture, nn.Module):
        network = architecture
    else:
        network = CellNetwork(with_stem(architecture, recipe.stem), recipe.channels, recipe.cells, data.num_classes,
                              # The chance is set at the start of each epoch.
                              recipe.auxiliary_weight > 0, drop_path=0.0)
    if recipe.max_macs:
        if not hasattr(data, 'image_size'):
            raise ValueError('max_macs limits the multiply-adds of an image, but the data have no image_size: give '
                             'data with one, or max_macs=0')
        macs = count_macs(network, data.image_size)
        if macs > recipe.max_macs:
            raise ValueError(f'the network takes {macs / 1e6:.1f} million multiply-adds for an image, more than '
                             f'max_macs={recipe.max_macs} allows: lower channels or cells, or give max_macs=0')
    # Only the layout in memory changes: shapes, names and values stay.
    return network.to(memory_format=torch.channels_last) if recipe.channels_last else network
