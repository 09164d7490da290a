"""``nni-wcnas search``: one search in this process, through NNI's strategy and engine, with all its files."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.space import RawFormatModelSpace

from nni_wcnas.cli.folder import make_folder
from nni_wcnas.cli.memory import is_out_of_memory, out_of_memory
from nni_wcnas.cli.pretrained_files import with_pretrained_files
from nni_wcnas.cli.quiet import silence_lightning
from nni_wcnas.cli.recorder import GENERATED, Recorder
from nni_wcnas.cli.truth import true_values
from nni_wcnas.contracts import GenerativeTester
from nni_wcnas.data import DataError, ImageData
from nni_wcnas.data.identity import check_identity, identify, keep_identity
from nni_wcnas.data.image_check import check_images
from nni_wcnas.data.reference import Reference, reference_models
from nni_wcnas.errors import DivergedError
from nni_wcnas.evaluator import SearchEvaluator
from nni_wcnas.files.checkpoint import CheckpointError
from nni_wcnas.files.run_directory import RunDirectory
from nni_wcnas.measure.image.image_judge import ImageJudge
from nni_wcnas.measure.truth import TruthTable
from nni_wcnas.page.event_file import EventFile
from nni_wcnas.page.run_pictures import write_architecture
from nni_wcnas.settings import assembly
from nni_wcnas.settings.consistency import is_without_b
from nni_wcnas.settings.problems import CommandError, for_settings
from nni_wcnas.settings.recipe_numbers import remark
from nni_wcnas.settings.resolved import differing_key
from nni_wcnas.settings.trial import Trial
from nni_wcnas.settings.truth import make_truth
from nni_wcnas.spaces.architecture import CELL_SPACES, Architecture
from nni_wcnas.strategy import Search
from nni_wcnas.tester import ImagePolicy

__all__ = ['Found', 'open_run', 'search']


@dataclass(frozen=True)
class Found:
    """The result of a search, with the data and the judges that it used."""

    architecture: Architecture
    history: list[dict[str, float]]
    data: ImageData
    reference: Reference
    hyperparameters: tuple[str, ...] = ()
    """Names of B's values, which are columns of the history."""
    truth: TruthTable | None = None
    """The table of true values that the settings name, if any."""


def open_run(path: str | Path, trial: Trial, *, resume: bool) -> RunDirectory:
    """Open a run folder, a new one or one to continue, and write its settings.

    Raises
    ------
    CommandError
        When the folder is taken, cannot be resumed, was made with other settings or data, or images are damaged.
    """
    run = RunDirectory(path)
    found, wanted = run.read_settings(), trial.resolved
    if not resume and found:
        raise CommandError(
            f'{run.path} holds a run already; continue it with --resume, or give another directory with --run'
        )
    if resume:
        if not found:
            raise CommandError(f'{run.path} holds no run to resume; start it without --resume')
        # Only what changes the result counts: the device, the folder and the retraining may be others.
        key = differing_key(found, wanted)
        if key is not None:
            raise CommandError(
                f'{run.path} was made with other settings: {key} differs; give the same, or another directory'
            )
    try:
        # Before anything is written, and before the first epoch: damage would else be found after hours.
        check_images(trial.data)
        identity = identify(trial.data)
        if resume:
            check_identity(run.path, identity)
    except DataError as error:
        raise CommandError(for_settings(error)) from error
    make_folder(run.path, 'give another with --run')
    keep_identity(run.path, identity)
    # What may differ is written anew; the files that the search began with stay, as it goes on with them.
    run.write_settings({**wanted, **{key: found[key] for key in ('pretrained',) if key in found}})
    return run


def search(
    trial: Trial, run: RunDirectory, *, on_epoch: Callable[[dict[str, float], int], None] | None = None
) -> Found:
    """Search for an architecture, from the last checkpoint in the run if there is one, and write all files.

    Parameters
    ----------
    trial
        Checked settings and their parts; the search uses up the strategy.
    run
        The run, as :func:`open_run` gives it.
    on_epoch
        Called after each epoch with the row of ``metrics.csv``, and the number of epochs of all stages.

    Raises
    ------
    KeyboardInterrupt
        On Ctrl-C; the last whole epoch is in the checkpoint.
    CommandError
        When the checkpoint is damaged, the search diverges, or memory runs out.
    """
    silence_lightning()
    settings, data, strategy = trial.settings, trial.data, trial.strategy
    # Fixed models that no search ever sees: they tell which examples are hard, and judge the tester's images.
    reference = reference_models(data, progress=sys.stderr.isatty())
    hard = assembly.hard_examples(settings, data, assembly.difficulty_scores(settings, data, reference))
    # Written before the search begins: resumed, it goes on with the same files, even if the settings say `auto`.
    ready, files = with_pretrained_files(settings, data, strategy, run.read_settings().get('pretrained') or {})
    if files:
        run.write_settings({**run.read_settings(), 'pretrained': files})
    # After pre-training, which draws numbers only where its files are missing, and before the space is built, whose
    # weights are drawn here: so a search is the same with cached files and with new ones.
    pytorch_lightning.seed_everything(settings.seed, verbose=False)
    space = assembly.make_space(settings, data)
    has_images = strategy.objective.needs_tester and not is_without_b(settings.tester)
    # A tester without hyper-parameters learns nothing, so there is no course of its images to follow.
    judge = ImageJudge(reference, data) if has_images else None
    truth = make_truth(settings)
    judged = None if truth is None else partial(true_values, truth, settings.space['name'])
    recorder = Recorder(run, judge, on_epoch, EventFile(run), judged)
    try:
        # With `ready`, whose pre-trained files exist; `settings` still say `auto`, and are what is written down.
        evaluator = assembly.make_evaluator(
            ready,
            data,
            strategy,
            hard=hard,
            callbacks=[recorder],
            checkpoint_directory=run.checkpoint.parent,
            resume=run.checkpoint if run.checkpoint.exists() else None,
            enable_progress_bar=sys.stderr.isatty(),
        )
    # The evaluator reads the checkpoint at once, so a damaged one is told before the search begins.
    except CheckpointError as error:
        raise CommandError(str(error)) from error
    # The report reads these names from the settings: columns of the history do not say what they are.
    names = _write_monitoring(run, judge, evaluator, truth)
    told = remark(settings)
    if told is not None:
        print(told, file=sys.stderr, flush=True)
    try:
        sample = _run(strategy, space, evaluator, recorder)
    except (RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):  # Any other error keeps its traceback.
            raise CommandError(out_of_memory(settings)) from error
        raise
    architecture = _architecture(trial, sample, _operations(space))
    write_architecture(run, architecture)
    tester = evaluator.module.tester
    if isinstance(tester, ImagePolicy):
        run.write_policy(tester.rows())
    return Found(architecture, recorder.history, data, reference, names, truth)


def _write_monitoring(
    run: RunDirectory, judge: ImageJudge | None, evaluator: SearchEvaluator, truth: TruthTable | None
) -> tuple[str, ...]:
    """Write into the run's settings what its measures depend on, and return the names of B's values.

    It is the table of true values, who judges the generated images and how many there are.
    """
    tester, monitoring, names = evaluator.module.tester, {}, ()
    if truth is not None:
        monitoring = {'true_columns': tuple(truth.columns), 'true_architectures': len(truth.architectures)}
    if judge is not None and tester is not None:
        names = tuple(tester.values())
        count = GENERATED if isinstance(tester, GenerativeTester) else len(judge.real.labels)
        monitoring |= {**judge.description(), 'generated_images': count, 'hyperparameters': names}
    if monitoring:
        run.write_settings({**run.read_settings(), 'monitoring': monitoring})
    return names


def _run(strategy: Search, space: Any, evaluator: Any, recorder: Recorder) -> dict[str, Any]:
    """Run the search through NNI's engine, and return the sample of the found model.

    Raises
    ------
    KeyboardInterrupt
        On Ctrl-C.
    CommandError
        When the search diverges.
    """
    model_space = RawFormatModelSpace.from_model(space, evaluator)
    try:
        strategy(model_space, SequentialExecutionEngine())
    # Lightning turns Ctrl-C into an exit; the recorder remembers which it was.
    except SystemExit:
        if recorder.interruption is not None:
            raise recorder.interruption from None
        raise
    except DivergedError as error:
        raise CommandError(str(error)) from error
    return dict(next(strategy.list_models()).sample)


def _architecture(trial: Trial, sample: dict[str, Any], operations: tuple[str, ...]) -> Architecture:
    """Make the architecture file's content: the found sample, with what is needed to read it back."""
    settings, name = trial.settings, trial.settings.space['name']
    # Only arguments that change which network a sample of cells means; width and depth are not among them.
    given = settings.space if name in CELL_SPACES else {}
    kept = ('num_nodes', 'stem', 'views')
    arguments: dict[str, Any] = {key: given[key] for key in kept if given.get(key) is not None}
    # What makes the architecture: neither where and on what it was searched, nor what judges it.
    origin = {key: value for key, value in trial.resolved.items() if key not in ('directory', 'device', 'truth')}
    return Architecture(
        name, sample, operations, arguments=arguments, provenance={'seed': settings.seed, 'settings': origin}
    )


def _operations(space: Any) -> tuple[str, ...]:
    """Return the candidate operations of a space with cells, ours or NNI's; empty elsewhere."""
    return tuple(getattr(space, 'operations', getattr(space, 'op_candidates', ())))
