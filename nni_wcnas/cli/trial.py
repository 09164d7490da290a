"""What ``nnictl`` runs: one search, a short retraining, and the measures that the tuner compares."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nni
import torch

from nni_wcnas.cli.identity import TrialIdentity, preserved_identity
from nni_wcnas.cli.peak import peak_memory
from nni_wcnas.cli.search import Found, open_run, search
from nni_wcnas.files.run_directory import RunDirectory
from nni_wcnas.files.search_cost import search_seconds
from nni_wcnas.measure.measures import measure
from nni_wcnas.page.report import write_report
from nni_wcnas.retrain.retraining import retrain
from nni_wcnas.settings import assembly
from nni_wcnas.settings.problems import CommandError, for_settings
from nni_wcnas.settings.schema import Settings

__all__ = ['judge', 'run_trial', 'trial_directory']

_SEARCHED = ('skips', 'entropy', 'reference_error', 'inception_score', 'fid', 'auxiliary_error')
"""What the last epoch of the search adds to the final result, beside its losses, B and true values."""


_JUDGED = (
    'accuracy', 'accuracy_hard', 'loss', 'loss_hard', 'parameters', 'macs', 'search_seconds', 'pretraining_seconds',
    'search_memory',
)
"""What the final result says of the retrained cell and of the search, as far as it is known; memory in bytes."""


def trial_directory(settings: Settings, experiment: str, trial: str) -> Path:
    """Where a trial keeps its files."""
    return Path(settings.directory).resolve() / experiment / trial


def run_trial(settings: Settings, proposal: Mapping[str, Any]) -> dict[str, float]:
    """Search, retrain, measure and report to NNI; a trial that is started again goes on where it stopped.

    Parameters
    ----------
    settings
        With the tuner's proposal already in it.
    proposal
        Kept beside them: of trials side by side, NNI's manager does not know which of them was given which.

    Returns
    -------
    The final result: ``default`` is the accuracy on the hardest validation examples. Test data is never looked at.
    """
    path = trial_directory(settings, nni.get_experiment_id(), nni.get_trial_id())
    run = open_run(path, settings, resume=RunDirectory(path).settings.exists())
    run.write_proposal(proposal)
    with preserved_identity() as identity:
        found = search(settings, run, on_epoch=lambda row, _: _report_epoch(identity, row))
    cost = {**search_seconds(run), 'search_memory': peak_memory(assembly.device(settings))}
    measures = {**judge(settings, run, found), **cost}
    run.write_measures(measures)
    write_report(run, measures, title=f'Trial {nni.get_trial_id()}')
    last = found.history[-1]
    final: dict[str, float] = {'default': measures['accuracy_hard']}
    final |= {key: measures[key] for key in _JUDGED if key in measures}
    added = (*_SEARCHED, *found.hyperparameters)
    final |= {key: value for key, value in last.items() if key in added or key.startswith(('loss_', 'true_'))}
    nni.report_final_result(final)
    return final


def judge(settings: Settings, run: RunDirectory, found: Found) -> dict[str, float]:
    """Retrain the found cell shortly on the weights' half and measure it on the architecture's half."""
    scores = assembly.difficulty_scores(settings, found.data, found.reference)
    folder = run.path / 'retraining'
    try:
        retrained = retrain(
            _network(settings, found),
            found.data,
            part='weights',
            directory=folder,
            resume=True,
            seed=settings.seed,
            accelerator=assembly.accelerator(settings),
            progress=sys.stderr.isatty(),
            **settings.retrain.numbers(),
        )
    except ValueError as error:  # A cell with more multiply-adds than max_macs, for instance.
        raise CommandError(for_settings(error)) from error
    return measure(retrained.network, found.data, 'architecture', scores, settings.difficulty.share)


def _network(settings: Settings, found: Found) -> Any:
    """The architecture of a cell space; elsewhere the frozen model itself, with weights drawn from the seed."""
    if found.architecture.is_cell:
        return found.architecture
    with assembly.untouched_random_state():
        torch.manual_seed(settings.seed)
        return assembly.make_space(settings, found.data).freeze(found.architecture.sample)


def _report_epoch(identity: TrialIdentity, row: dict[str, float]) -> None:
    """One intermediate result: the supernet's accuracy on the hardest validation examples, and the losses."""
    identity.report_intermediate({'default': row.get('val_accuracy_hard', row['val_accuracy']), **row})
