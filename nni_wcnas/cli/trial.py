"""``nni-wcnas trial``, which ``nnictl`` runs: one search, a short retraining, and measures for the tuner."""

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
from nni_wcnas.data.identity import identify, keep_identity
from nni_wcnas.files.run_directory import RunDirectory
from nni_wcnas.files.search_cost import search_seconds
from nni_wcnas.measure.measures import measure
from nni_wcnas.page.report import write_report
from nni_wcnas.retrain.retraining import retrain
from nni_wcnas.settings import assembly
from nni_wcnas.settings.problems import CommandError, for_settings
from nni_wcnas.settings.schema import Settings
from nni_wcnas.settings.trial import Trial

__all__ = ['judge', 'run_trial', 'trial_directory']

_SEARCHED = ('skips', 'entropy', 'reference_error', 'inception_score', 'fid', 'auxiliary_error')
"""What the last epoch of the search adds to the final result, beside its losses, B and true values."""


_JUDGED = (
    'accuracy', 'accuracy_hard', 'loss', 'loss_hard', 'parameters', 'macs', 'search_seconds', 'pretraining_seconds',
    'search_memory',
)
"""What the final result says of the retrained cell and of the search, as far as it is known; memory in bytes."""


def trial_directory(settings: Settings, experiment: str, trial: str) -> Path:
    """Return the folder in which a trial of an experiment keeps its files."""
    return Path(settings.directory).resolve() / experiment / trial


def run_trial(trial: Trial, proposal: Mapping[str, Any]) -> dict[str, float]:
    """Search, retrain, measure and report to NNI; a trial that is started again goes on where it stopped.

    Parameters
    ----------
    trial
        Checked settings, with the tuner's proposal already in them, and their parts.
    proposal
        The tuner's proposal, which is written into the run: of trials side by side, NNI's manager does not know which
        of them was given which.

    Returns
    -------
    dict
        The final result: ``default`` is the accuracy on the hardest validation examples. Test data is never looked at.
    """
    settings = trial.settings
    path = trial_directory(settings, nni.get_experiment_id(), nni.get_trial_id())
    # A trial that is started again under its id finds its folder, and goes on in it.
    run = open_run(path, trial, resume=RunDirectory(path).settings.exists())
    run.write_proposal(proposal)
    # The search changes who this process is to NNI's manager; after the context it is this trial again.
    with preserved_identity() as identity:
        found = search(trial, run, on_epoch=lambda row, _: _report_epoch(identity, row))
    # Before the retraining, whose memory is not the search's.
    cost = {**search_seconds(run), 'search_memory': peak_memory(assembly.device(settings))}
    measures = {**judge(settings, run, found), **cost}
    run.write_measures(measures)
    write_report(run, measures, title=f'Trial {nni.get_trial_id()}')
    last = found.history[-1]
    # NNI's tuner sees `default` alone; the web UI offers the other keys, which have to be plain numbers.
    final: dict[str, float] = {'default': measures['accuracy_hard']}
    final |= {key: measures[key] for key in _JUDGED if key in measures}
    # From the last epoch, whose architecture is the one that is retrained.
    added = (*_SEARCHED, *found.hyperparameters)
    final |= {key: value for key, value in last.items() if key in added or key.startswith(('loss_', 'true_'))}
    nni.report_final_result(final)
    return final


def judge(settings: Settings, run: RunDirectory, found: Found) -> dict[str, float]:
    """Retrain the found cell for a short time on the weights' half, and measure it on the architecture's half.

    The half that it is measured on has not trained the weights, and test data play no part.

    Parameters
    ----------
    settings
        Checked settings; their section ``retrain`` says how to train.
    run
        The run of the trial; the retraining lies in its folder ``retraining``.
    found
        Result of the search.

    Returns
    -------
    dict
        Measures by name.
    """
    scores = assembly.difficulty_scores(settings, found.data, found.reference)
    folder = run.path / 'retraining'
    try:
        # Those of the search: `open_run` compared them a moment ago.
        keep_identity(folder, identify(found.data))
        retrained = retrain(
            _network(settings, found),
            found.data,
            part='weights',
            directory=folder,
            resume=True,  # Of the retraining as of the search.
            seed=settings.seed,
            accelerator=assembly.accelerator(settings),
            progress=sys.stderr.isatty(),
            **settings.retrain.numbers(),
        )
    except ValueError as error:  # A cell with more multiply-adds than max_macs, for instance.
        raise CommandError(for_settings(error)) from error
    return measure(retrained.network, found.data, 'architecture', scores, settings.difficulty.share)


def _network(settings: Settings, found: Found) -> Any:
    """Return what is retrained: the architecture of a cell space; elsewhere the frozen model, with seeded weights."""
    if found.architecture.is_cell:
        return found.architecture
    with assembly.untouched_random_state():
        torch.manual_seed(settings.seed)
        # Freezing builds the chosen network with fresh weights: those of the supernet do not survive it.
        return assembly.make_space(settings, found.data).freeze(found.architecture.sample)


def _report_epoch(identity: TrialIdentity, row: dict[str, float]) -> None:
    """Report one epoch to NNI: as ``default`` the supernet's accuracy on the hardest validation examples."""
    identity.report_intermediate({'default': row.get('val_accuracy_hard', row['val_accuracy']), **row})
