"""``nni-wcnas run``: an NNI experiment from its start to the best cell and a comparison of its trials."""

from __future__ import annotations

import atexit
import os
import shlex
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path

import nni
import psutil
from nni.experiment import Experiment
from nni.experiment.config import ExperimentConfig
from nni.experiment.config.utils import unset_base_path

from nni_wcnas.cli.display import Display, TrialState, print_results
from nni_wcnas.cli.trial_comparison import as_trial, compare_trials
from nni_wcnas.compare.trial import write_trials
from nni_wcnas.data.reference import reference_models
from nni_wcnas.files.run_directory import RunDirectory
from nni_wcnas.interruption import Terminated
from nni_wcnas.settings import assembly
from nni_wcnas.settings.algorithms import check_algorithms, is_batch
from nni_wcnas.settings.problems import CommandError
from nni_wcnas.settings.proposals import check_form, check_proposals, refuse_overridden
from nni_wcnas.settings.schema import Settings
from nni_wcnas.settings.settings import load_settings
from nni_wcnas.spaces.architecture import load_architecture, save_architecture

__all__ = ['free_port', 'load_experiment', 'run_experiment']

_MEMORY_HABITS = {'MALLOC_TRIM_THRESHOLD_': '268435456', 'MALLOC_MMAP_THRESHOLD_': '67108864'}
"""Environment that trials inherit unless it is set already.

With these thresholds, of 256 and 64 MiB, glibc keeps freed memory for the next batch instead of giving it back.
"""
_PORTS = 2**16
"""Number of ports of a machine; the highest one is one less."""
_ENDED = ('DONE', 'STOPPED', 'ERROR', 'NO_MORE_TRIAL')
"""Statuses of NNI's manager after which no trial will run."""


def run_experiment(
    path: str | Path, overrides: list[str], *, port: int = 8080, cpu: bool = False, quiet: bool = False
) -> int:
    """Run an NNI experiment: create it, wait for its trials, export the best cell, stop it, and compare the trials.

    Parameters
    ----------
    path
        NNI's experiment file, whose ``trialCommand`` is ``nni-wcnas trial SETTINGS``.
    overrides
        Overrides ``key=value`` for the settings of every trial.
    port
        First port to try for the web UI.
    cpu
        Whether to use no GPU, whatever the file asks for.
    quiet
        Whether to show no progress.

    Returns
    -------
    int
        Exit code: 0, or 1 when no trial succeeded.

    Raises
    ------
    CommandError
        When a file or a setting is wrong or a GPU is missing, before anything is started; or when NNI or its tuner
        dies.
    """
    port = free_port(port)
    config, settings = load_experiment(path, overrides, cpu=cpu)
    if not quiet:
        print('Difficulty of the examples: reference models, trained once and shared by all trials.', flush=True)
    # Trained here once and cached, as all trials would otherwise begin by training the same models side by side.
    reference_models(assembly.make_data(settings), progress=not quiet and sys.stderr.isatty())
    nni.silence_stdout()
    habits = {**_MEMORY_HABITS, **_threads(int(config.trial_concurrency))}
    os.environ.update({name: value for name, value in habits.items() if name not in os.environ})
    experiment = Experiment(config)
    with _stopped_at_the_end(experiment) as started:
        port = free_port(port)  # Training the models took time.
        # NNI starts its manager as a child process, which starts the tuner and the trials.
        experiment.start(port)
        folder = Path(settings.directory) / experiment.id
        display = Display(f'http://localhost:{port}', int(config.max_trial_number or 0), quiet=quiet)
        trials = _wait(experiment, display, started, folder)
    name = str(config.experiment_name or Path(path).stem)
    return _conclude(folder, trials, _log(experiment), name=name, cpu=settings.device == 'cpu')


def _threads(concurrency: int) -> dict[str, str]:
    """Return the environment of trials side by side: each has its share of processors, and waits without spinning."""
    share = max(1, (os.cpu_count() or 1) // concurrency)
    return {'OMP_NUM_THREADS': str(share), 'OMP_WAIT_POLICY': 'PASSIVE'} if concurrency > 1 else {}


def load_experiment(path: str | Path, overrides: list[str], *, cpu: bool) -> tuple[ExperimentConfig, Settings]:
    """Read an experiment file, and check everything that a trial would trip over.

    Parameters
    ----------
    path
        NNI's experiment file.
    overrides
        Overrides ``key=value`` for the settings of every trial.
    cpu
        Whether to use no GPU, whatever the file asks for.

    Returns
    -------
    tuple
        The configuration, with a command that runs in this interpreter, and a trial's settings without a proposal.

    Raises
    ------
    CommandError
        When something in the experiment, the settings or the search space is wrong.
    """
    try:
        config = ExperimentConfig.load(str(path))
        canonical = config.canonical_copy()
        folder = Path(canonical.trial_code_directory)
    except FileNotFoundError as error:
        raise CommandError(f'{error.filename or path}: there is no such file; check the path') from error
    # NNI and its YAML reader raise many kinds, and all mean a wrong file.
    except Exception as error:
        # NNI leaves its base path set after an error, and would refuse every later file of this process.
        unset_base_path()
        raise CommandError(
            f'{path}: not an NNI experiment file ({" ".join(str(error).split())}); compare it with '
            'experiments/digits.yml'
        ) from error
    # Only a command of ours says which settings a trial reads, which can then be checked with the search space.
    words = shlex.split(config.trial_command or '')
    if len(words) < 3 or Path(words[0]).name != 'nni-wcnas' or words[1] != 'trial':
        raise CommandError(f'{path}: trialCommand is {config.trial_command!r}; write `nni-wcnas trial SETTINGS.yml`')
    if config.trial_gpu_number and cpu:
        # Both keys ask for a GPU: on a machine without one NNI's manager dies of them.
        config.trial_gpu_number = 0
        config.training_service.use_active_gpu = None
    elif config.trial_gpu_number and not assembly.has_gpu():
        raise CommandError(
            f'{path}: asks for {config.trial_gpu_number} GPU a trial (trialGpuNumber), and this machine has none; '
            f'run it without with `nni-wcnas run {path} --cpu`'
        )
    if cpu:
        overrides = [*overrides, 'device=cpu']
    # Overrides of the file's own command and of this one: neither may touch what the tuner proposes.
    place, given = str(canonical.search_space_file or path), [*_given(words), *overrides]
    check_algorithms(canonical, path)
    space, is_list = canonical.search_space, is_batch(canonical.tuner)
    # In this order: later checks take for granted what earlier ones have refused.
    check_form(space, place, is_list=is_list)
    refuse_overridden(space, place, given, is_list=is_list)
    settings = load_settings(folder / words[2], given)
    check_proposals(space, place, folder / words[2], given, is_list=is_list)
    more = [word for text in overrides for word in ('--set', text)]
    # By this interpreter, as the script may not be on the path of the manager's shell.
    config.trial_command = shlex.join([sys.executable, '-m', 'nni_wcnas.cli', *words[1:], *more])
    try:
        config.validate()
    except ValueError as error:
        raise CommandError(f'{path}: {" ".join(str(error).split())}; compare it with experiments/digits.yml') from error
    return config, settings


def free_port(first: int) -> int:
    """Return the first port from ``first`` on that nothing listens to.

    Raises
    ------
    CommandError
        When ``first`` is no port, or 200 ports from it on are busy.
    """
    if not 1 <= first < _PORTS:
        raise CommandError(f'--port {first}: there is no such port; give one from 1 to {_PORTS - 1}')
    last = min(first + 200, _PORTS) - 1
    for port in range(first, last + 1):
        with socket.socket() as probe:
            if probe.connect_ex(('127.0.0.1', port)) != 0:  # 0 where something answers.
                return port
    raise CommandError(f'No port from {first} to {last} is free; name another with --port')


def _given(words: list[str]) -> list[str]:
    """Return the overrides that the trial command of the experiment file sets itself."""
    return [words[at + 1] for at, word in enumerate(words[:-1]) if word == '--set']


def _wait(
    experiment: Experiment, display: Display, started: set[psutil.Process], folder: Path
) -> list[TrialState]:
    """Show the trials until the experiment has ended.

    Parameters
    ----------
    experiment
        The experiment, started.
    display
        Shows the trials.
    started
        Set to which all processes below this one are added; a killed manager leaves its own behind.
    folder
        Folder of the experiment, with one sub-folder for each trial.

    Returns
    -------
    list of TrialState
        All trials at the end.

    Raises
    ------
    CommandError
        When the tuner died, of which NNI's manager takes no notice.
    """
    with display:
        while True:
            # The children of a manager that was killed have another parent: they must have been seen before.
            started.update(psutil.Process().children(recursive=True))
            status = experiment.get_status()
            trials = [TrialState.of(job, folder) for job in experiment.list_trial_jobs()]
            display.show(trials)
            # The manager may have ended proposing while trials still run, so the trials are asked first.
            if not any(trial.status in ('RUNNING', 'WAITING') for trial in trials):
                if status in _ENDED:
                    return trials
                if 'Traceback' in _tuner_log(experiment):
                    raise CommandError(
                        f"NNI's tuner died, so there will be no more trials; see dispatcher.log in {_log(experiment)}"
                    )
            time.sleep(2)


def _tuner_log(experiment: Experiment) -> str:
    """Return the log of the process that proposes parameters, which lives on when the tuner in it dies."""
    path = Path(_log(experiment)) / 'dispatcher.log'
    return path.read_text(encoding='utf-8', errors='replace') if path.exists() else ''


def _conclude(folder: Path, trials: list[TrialState], log: str, *, name: str, cpu: bool = False) -> int:
    """Export the best cell, write the page and print the table; then compare the networks on the test set.

    The best cell is chosen by validation images, before any network meets the test set.

    Returns
    -------
    int
        Exit code: 0, or 1 when no trial succeeded.
    """
    # By `default`, the accuracy on the hardest validation examples, which the tuner saw, too.
    succeeded = sorted((trial for trial in trials if trial.metrics), key=lambda trial: -trial.metrics['default'])
    report, title = None, f'{name}, {date.today().isoformat()}'
    if succeeded:
        best = RunDirectory(folder / succeeded[0].name)
        save_architecture(load_architecture(best.architecture), folder / 'best.json')
        # Before the test set is met, so that the trials have a page even if something goes wrong there.
        found = [as_trial(folder, trial) for trial in succeeded]
        report = write_trials(folder / 'report.html', found, title, f'Experiment {folder.name}')
    print_results(trials, folder / 'best.json' if succeeded else None, report, log)
    if len(succeeded) > 1:  # A single network has nothing to be compared with.
        compared = compare_trials(folder, succeeded, title=title, cpu=cpu)
        if compared is not None:
            print(f'{compared.verdict}\ncomparison, added to the report: {compared.page}')
    return 0 if succeeded else 1


@contextmanager
def _stopped_at_the_end(experiment: Experiment) -> Iterator[set[psutil.Process]]:
    """Stop the experiment at the end of the context, and leave none of its processes behind, whatever happens.

    Yields a set for the processes that were seen in between; those that were there before the context are left alone.
    """
    own = set(psutil.Process().children(recursive=True))
    started: set[psutil.Process] = set()
    try:
        yield started
    except (RuntimeError, OSError) as error:
        raise CommandError(
            f'NNI could not start or lost the experiment: {_reason(error)}; see {_log(experiment)}'
        ) from error
    except KeyboardInterrupt as interruption:
        how = 'Stopped by SIGTERM' if isinstance(interruption, Terminated) else 'Interrupted'
        raise type(interruption)(f'{how}; the trials that are done are kept.') from None
    finally:
        started.update(psutil.Process().children(recursive=True))
        managed = _is_managed(own)
        try:
            if managed:
                experiment.stop()
            else:
                # NNI stops experiments at exit, too; it would ask a dead manager, at length.
                atexit.unregister(experiment.stop)
        finally:
            _end(list(started - own), grace=5 if managed else 0)


def _reason(error: Exception) -> str:
    """Say in a few words why NNI gave up; the text of ``requests`` about a silent manager is a paragraph."""
    if isinstance(error, OSError):
        return error.strerror or 'its manager no longer answers'
    return ' '.join(str(error).split())


def _is_managed(own: set[psutil.Process]) -> bool:
    """Tell whether NNI's manager, the only new child of this process, lives; a zombie does not."""
    new = set(psutil.Process().children()) - own
    return any(child.status() != psutil.STATUS_ZOMBIE for child in new)


def _end(processes: list[psutil.Process], grace: float) -> None:
    """Give processes ``grace`` seconds to end, then kill those that are left."""
    _, left = psutil.wait_procs(processes, timeout=grace)
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(left, timeout=5)


def _log(experiment: Experiment) -> str:
    """Return the folder in which NNI's manager logs what went wrong."""
    return os.path.join(str(experiment.config.canonical_copy().experiment_working_directory), experiment.id, 'log')
