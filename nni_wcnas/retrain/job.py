"""A retraining as a value: what to train, how, and where to keep it. Can be handed to another process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from nni_wcnas.files.run_directory import RunDirectory
from nni_wcnas.retrain.checkpoint import CheckpointWriter, read_checkpoint, restore
from nni_wcnas.retrain.recipe import RetrainingRecipe
from nni_wcnas.retrain.step import RetrainData, Retraining, fit

__all__ = ['Job']


@dataclass(frozen=True)
class Job:
    """One retraining: the network, its data and recipe, and where its checkpoint is kept.

    Parameters
    ----------
    network
        The network, which is trained in place.
    data, recipe, part, accelerator, progress
        As in :func:`nni_wcnas.retrain.retraining.retrain`; all numbers are the recipe's.
    run
        The run folder that holds the checkpoint; None keeps none.
    identity
        What the trained weights depend on, as :func:`nni_wcnas.retrain.checkpoint.identity_of` gives it.
    devices
        How many processes train.
    checkpoint
        Content of the run's checkpoint; empty where there is none.
    """

    network: nn.Module
    data: RetrainData
    recipe: RetrainingRecipe
    part: str
    run: RunDirectory | None
    identity: dict[str, Any]
    accelerator: str
    progress: bool
    devices: int = 1
    checkpoint: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_finished(self) -> bool:
        """Whether the checkpoint is that of the last epoch, so that there is nothing left to train."""
        return len(self.checkpoint.get('history', ())) == self.recipe.epochs

    def read(self) -> dict[str, Any]:
        """Read and check the checkpoint of the run; an empty dictionary where there is none."""
        return read_checkpoint(self.run, True, self.identity) or {}

    def train(self) -> list[dict[str, float]]:
        """Train from the checkpoint on, as one of the processes; the network ends with the weights to evaluate.

        Returns
        -------
        list of dict
            The rows of all epochs, those before the checkpoint included.

        Raises
        ------
        ValueError
            If there are no batches.
        KeyboardInterrupt
            On Ctrl-C.
        """
        # Before the checkpoint is loaded: the moving average is a copy of the network, and is restored after it.
        module = Retraining(self.network, self.data, self.recipe)
        if self.checkpoint:
            restore(module, self.checkpoint)
        # A copy, as rows are appended.
        history = list(self.checkpoint.get('history', ()))
        start = len(history)
        # A finished training only loads its weights, and fetches no data.
        if start < self.recipe.epochs:
            # Lightning may fetch the first batch before the hook that would tell the data their epoch.
            self.data.set_epoch(start)
            loader = self.data.full_train_dataloader() if self.part == 'train' else self.data.train_dataloader()
            recorder = CheckpointWriter(history, self.run, self.identity)
            fit(module, loader, recorder, start=start, accelerator=self.accelerator, progress=self.progress,
                devices=self.devices)
        # The recorder appends to this same list. Lightning stops without a word where there is nothing to train on.
        if len(history) < self.recipe.epochs:
            raise ValueError(f'part {self.part!r} of the data has no batches: give data with training examples')
        if module.average is not None:
            self.network.load_state_dict(module.average.module.state_dict())
        return history
