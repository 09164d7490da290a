"""Real experiments: NNI's manager, its REST answers, its page in a browser, and nothing left behind."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import psutil
import pytest
import torch
import yaml
from nni.experiment import TrialJob

from nni_wcnas.cli.display import TrialState
from nni_wcnas.cli.run import _conclude, free_port, load_experiment, run_experiment
from nni_wcnas.files.run_directory import RunDirectory
from nni_wcnas.options import list_options
from nni_wcnas.settings.algorithms import is_batch
from nni_wcnas.settings.problems import CommandError
from nni_wcnas.settings.proposals import check_form, check_proposals
from nni_wcnas.settings.settings import load_settings
from nni_wcnas.tester import FQGAN, TiedAuxiliary

ROOT = Path(__file__).parents[2]
CHROMIUM = shutil.which('chromium')
SETTINGS = """\
data: {name: digits, limit: 120, batch_size: 30}
space: {name: darts, width: 4, num_cells: 3, operations: [none, max_pool_3x3, skip_connect, sep_conv_3x3]}
method: {preset: wcnas, every: 2}
search: {epochs: 1}
tester: {name: fq_gan, width: 8, dictionary_size: 32, latent: 16}
retrain: {epochs: 1, channels: 4, cells: 3}
directory: runs
"""
EXPERIMENT = """\
searchSpace:
  method: {_type: choice, _value: [{_name: wcnas, trade_off: {_type: uniform, _value: [0.5, 2]}}]}
  seed: {_type: randint, _value: [0, 9]}
trialCommand: nni-wcnas trial tiny.trial.yml
trialConcurrency: 1
trialGpuNumber: 0
maxTrialNumber: 2
experimentWorkingDirectory: nni
tuner: {name: Random, classArgs: {seed: 0}}
trainingService: {platform: local}
"""


@pytest.fixture
def experiment_file(tmp_path: Path) -> Path:
    """Two tiny trials."""
    (tmp_path / 'tiny.trial.yml').write_text(SETTINGS)
    (tmp_path / 'tiny.yml').write_text(EXPERIMENT)
    return tmp_path / 'tiny.yml'


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The command on the path, and a home of its own for nnictl's list of experiments."""
    scripts = Path(sys.executable).parent
    return {
        **os.environ,
        'PATH': f'{scripts}{os.pathsep}{os.environ["PATH"]}',
        'OMP_NUM_THREADS': '1',
        'HOME': str(tmp_path),
        'NNI_WCNAS_CACHE': str(tmp_path / 'cache'),
    }


def managers(folder: Path) -> list[psutil.Process]:
    """Living processes that name a folder in their command."""
    found = []
    for process in psutil.process_iter(['cmdline']):
        if any(str(folder) in word for word in process.info['cmdline'] or []) and process.pid != os.getpid():
            found.append(process)
    return found


def get(port: int, path: str) -> Any:
    """One answer of the manager."""
    with urlopen(f'http://localhost:{port}/api/v1/nni/{path}', timeout=20) as answer:
        return json.load(answer)


@pytest.fixture
def created(experiment_file: Path, environment: dict[str, str]) -> Iterator[int]:
    """An experiment that nnictl created; always stopped."""
    port = free_port(18080)
    nnictl = [shutil.which('nnictl', path=environment['PATH']) or 'nnictl']
    started = subprocess.run(
        [*nnictl, 'create', '--config', str(experiment_file), '--port', str(port)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert started.returncode == 0, started.stdout + started.stderr
    try:
        yield port
    finally:
        subprocess.run(
            [*nnictl, 'stop', '--port', str(port)], env=environment, capture_output=True, timeout=60, check=False
        )
        _, left = psutil.wait_procs(managers(experiment_file.parent), timeout=15)
        for process in left:
            process.kill()
        assert not left


def test_nnictl(created: int, tmp_path: Path) -> None:
    """Two trials succeed; results and page show what the trial reported."""
    deadline = time.monotonic() + 240
    while get(created, 'check-status')['status'] not in ('DONE', 'ERROR') and time.monotonic() < deadline:
        time.sleep(1)
    jobs = get(created, 'trial-jobs')
    assert [job['status'] for job in jobs] == ['SUCCEEDED'] * 2, [Path(job['logPath'], 'trial.stderr') for job in jobs]
    metrics = get(created, 'metric-data')
    for job in jobs:
        own = [metric for metric in metrics if metric['trialJobId'] == job['trialJobId']]
        identifier = str(json.loads(job['hyperParameters'][0])['parameter_id'])
        assert sorted((metric['type'], metric['parameterId']) for metric in own) == [
            ('FINAL', identifier),
            ('PERIODICAL', identifier),
        ]
        final = json.loads(json.loads(next(metric['data'] for metric in own if metric['type'] == 'FINAL')))
        assert {'default', 'accuracy', 'parameters', 'skips', 'entropy'} <= final.keys()
        runs = list((tmp_path / 'runs').glob(f'*/{job["trialJobId"]}/report.html'))
        assert len(runs) == 1
        with (runs[0].parent / 'metrics.csv').open() as file:
            seconds = sum(float(row['seconds'] or 0) for row in csv.DictReader(file))
        assert final['search_seconds'] == pytest.approx(seconds)
        assert 50e6 < final['search_memory'] < psutil.virtual_memory().total
        measures = json.loads((runs[0].parent / 'measures.json').read_text())
        assert {key: measures[key] for key in ('search_seconds', 'search_memory')}.items() <= final.items()
        state = TrialState.of(TrialJob(**job), runs[0].parents[1])
        assert Path(state.log).is_file()
        settings = yaml.safe_load((runs[0].parent / 'settings.yml').read_text())
        assert settings['method']['preset'] == state.method.partition(' ')[0], 'labelled by its own proposal'
    if not CHROMIUM:
        pytest.skip('Debian\'s chromium is not installed; everything but the page was checked')
    else:
        page = browse(created, tmp_path)
        assert all(job['trialJobId'] in page for job in jobs) and re.search('Succeeded', page, re.IGNORECASE)


def browse(port: int, folder: Path) -> str:
    """The detail page as headless Chromium sees it; a screenshot beside it."""
    flags = [
        '--headless',
        '--no-sandbox',
        '--disable-gpu',
        '--disable-quic',
        '--no-first-run',
        '--disable-background-networking',
        '--disable-component-update',
        '--disable-sync',
        f'--user-data-dir={folder / "chromium"}',
        '--virtual-time-budget=15000',
        '--window-size=1400,1600',
    ]
    address = f'http://localhost:{port}/detail'
    subprocess.run(
        [str(CHROMIUM), *flags, f'--screenshot={folder / "page.png"}', address],
        capture_output=True,
        timeout=90,
        check=True,
    )
    return subprocess.run(
        [str(CHROMIUM), *flags, '--dump-dom', address], capture_output=True, text=True, timeout=90, check=True
    ).stdout


def test_run_command(experiment_file: Path, environment: dict[str, str]) -> None:
    """One command from the experiment to the best cell, and no process left."""
    experiment_file.write_text(EXPERIMENT.replace('maxTrialNumber: 2', 'maxTrialNumber: 1'))
    done = subprocess.run(
        [
            sys.executable,
            '-m',
            'nni_wcnas.cli',
            'run',
            str(experiment_file),
            '--port',
            '18180',
            '--set',
            'method.every=4',
        ],
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (best,) = (experiment_file.parent / 'runs').glob('*/best.json')
    assert (best.parent / 'report.html').exists() and str(best) in done.stdout
    assert not managers(experiment_file.parent)


COLOURED = """\
data: {name: digits, limit: 120, batch_size: 30, shortcut: colour, augment: false}
space: {name: darts, width: 4, num_cells: 3, num_nodes: 1, operations: [skip_connect], views: [raw, luminance]}
method: {preset: wcnas, every: 2, trade_off: 0}
search: {epochs: 1}
retrain: {epochs: 1, channels: 4, cells: 3}
directory: runs
"""
SIDE_BY_SIDE = """\
searchSpace:
  method: {_type: choice, _value: [{_name: darts}, {_name: wcnas}]}
  seed: {_type: choice, _value: [0, 1]}
trialCommand: nni-wcnas trial tiny.trial.yml
trialConcurrency: 2
trialGpuNumber: 0
maxTrialNumber: 4
experimentWorkingDirectory: nni
tuner: {name: GridSearch}
trainingService: {platform: local}
"""


def test_trials_side_by_side_are_named_by_what_they_were_given_and_compared(
    experiment_file: Path, environment: dict[str, str]
) -> None:
    """NNI's manager may know two trials by one another's proposals; the test set comes after all trials."""
    experiment_file.write_text(SIDE_BY_SIDE)
    (experiment_file.parent / 'tiny.trial.yml').write_text(COLOURED)
    command = [sys.executable, '-m', 'nni_wcnas.cli', 'run', str(experiment_file), '--port', '18190']
    done = subprocess.run(
        command, env={**environment, 'COLUMNS': '200'}, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (folder,) = (page.parent for page in (experiment_file.parent / 'runs').glob('*/report.html'))
    runs = [RunDirectory(path.parent) for path in folder.glob('*/proposal.json')]
    assert len(runs) == 4
    found = set()
    for run in runs:
        settings, proposal = run.read_settings(), run.read_proposal()
        found.add((settings['method']['preset'], settings['seed']))
        assert (proposal['method']['_name'], proposal['seed']) == (settings['method']['preset'], settings['seed'])
        label = f'{settings["method"]["preset"]} (seed {settings["seed"]})'
        row = next(line for line in done.stdout.splitlines() if run.path.name in line)
        assert label in row, row
        record = json.loads((run.path / 'retraining' / 'record.json').read_text())
        assert {'error_worst_group', 'error_group_cue_agrees', 'error_group_cue_contradicts'} <= set(record['measures'])
    assert found == {(method, seed) for method in ('darts', 'wcnas') for seed in (0, 1)}
    page = (folder / 'report.html').read_text()
    assert '<th scope="row">darts <span class="sd">2 seeds' in page and 'worst group' in page
    table, verdict = done.stdout.split('Error on the test set')[1].split('On the worst group of the test images, ')
    assert table.count('raw') + table.count('luminance') == 4 and 'Mean errors: ' in verdict


def test_run_command_interrupted(experiment_file: Path, environment: dict[str, str]) -> None:
    """Ctrl-C in the middle of a trial ends everything that was started."""
    words = [sys.executable, '-m', 'nni_wcnas.cli', 'run', str(experiment_file), '--port', '18280']
    process = subprocess.Popen(
        words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    for line in process.stdout:
        if '1 running' in line:
            break
    started = psutil.Process(process.pid).children(recursive=True)
    assert any('nni_wcnas.cli' in child.cmdline() for child in started)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=90)
    assert process.returncode == 130 and 'Traceback' not in errors, errors
    assert not [child for child in started if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.skipif(torch.cuda.is_available(), reason='needs a machine without a GPU')
def test_missing_gpu(experiment_file: Path) -> None:
    """Said at once, with the way out, which works."""
    experiment_file.write_text(
        EXPERIMENT.replace('trialGpuNumber: 0', 'trialGpuNumber: 1').replace(
            'platform: local', 'platform: local, useActiveGpu: true'
        )
    )
    with pytest.raises(CommandError, match=r'asks for 1 GPU a trial .* --cpu`$'):
        load_experiment(experiment_file, [], cpu=False)
    config, settings = load_experiment(experiment_file, [], cpu=True)
    assert (
        config.trial_gpu_number == 0
        and settings.device == 'cpu'
        and str(config.trial_command).endswith('--set device=cpu')
    )


@pytest.mark.parametrize(
    ('old', 'new', 'message'),
    [
        (
            'trialCommand: nni-wcnas trial tiny.trial.yml',
            'trialCommand: python trial.py',
            'write `nni-wcnas trial SETTINGS.yml`',
        ),
        ('trialConcurrency: 1', 'trialConcurency: 1', 'not an NNI experiment file'),
        ('tiny.trial.yml', 'nowhere.yml', 'cannot be read'),
        ('name: Random', 'name: Randon', r"tuner.name: 'Randon' is not a known tuner; did you mean Random\?"),
        ('classArgs: {seed: 0}', 'classArgs: {sede: 0}', 'tuner.classArgs: Random cannot be made .*sede'),
        ('trade_off:', 'tradeoff:', r'tiny.yml: method.tradeoff: is not a known key here; did you mean trade_off\?'),
        ('  seed:', '  sede:', r'tiny.yml: sede: is not a known key here; did you mean seed\?'),
        ('_name: wcnas', '_name: wcnass', "tiny.yml: method.preset: 'wcnass' is not a known preset"),
        (
            ']}}]}',
            ']}}, {_name: darts, every: {_type: choice, _value: [2]}}]}',
            'tiny.yml: method.every: is not a known key here',
        ),
        ('_value: [0, 9]', '_value: [-1, 9]', 'tiny.yml: seed: must be at least 0, not -1'),
        ('{_type: randint', '{_type: randin', r"tiny.yml: seed: has the unknown _type 'randin'; did you mean randint"),
        ('_value: [0, 9]', '_value: [0]', r'tiny.yml: seed: has the _value \[0\]; write a list that fits randint'),
        ('_value: [0, 9]', '_value: [9, 0]', r'seed: has the _value \[9, 0\]; write a list that fits randint'),
        ('uniform, _value: [0.5, 2]', 'loguniform, _value: [0, 2]', 'write a list that fits loguniform'),
        ('uniform, _value: [0.5, 2]', 'quniform, _value: [0.5, 2, 0]', 'write a list that fits quniform'),
        ('_value: [0.5, 2]', '_value: [-1, 2]', 'tiny.yml: method.trade_off: trade_off must be 0 or more'),
        ('trial tiny.trial.yml', 'trial tiny.trial.yml --set seed=1', '--set seed=1: the tuner proposes seed'),
    ],
)
def test_wrong_experiment(experiment_file: Path, old: str, new: str, message: str) -> None:
    """Refused before anything is started."""
    experiment_file.write_text(EXPERIMENT.replace(old, new))
    with pytest.raises(CommandError, match=message):
        load_experiment(experiment_file, [], cpu=False)


@pytest.mark.parametrize('override', ['method=darts', 'method.trade_off=1.0', 'method.preset=darts', 'seed=4'])
def test_set_on_what_the_tuner_proposes(experiment_file: Path, override: str) -> None:
    """It would be silently overridden; other keys of the same section may be set."""
    experiment_file.write_text(EXPERIMENT.split('\n', 3)[3] + 'searchSpaceFile: space.yml\n')
    space = yaml.safe_load(EXPERIMENT)['searchSpace']
    (experiment_file.parent / 'space.yml').write_text(yaml.safe_dump(space))
    with pytest.raises(CommandError, match=f'--set {override}: the tuner proposes .* remove the key from .*space.yml$'):
        load_experiment(experiment_file, [override], cpu=False)
    _, settings = load_experiment(experiment_file, ['method.every=4'], cpu=False)
    assert settings.method['every'] == 4


@pytest.mark.parametrize('port', [99999, -3, 0])
def test_ports_that_are_none(experiment_file: Path, port: int) -> None:
    """Said before anything is read or started."""
    with pytest.raises(CommandError, match=f'--port {port}: there is no such port; give one from 1 to 65535'):
        run_experiment(experiment_file, [], port=port)
    with pytest.raises(CommandError, match='No port from 65535 to 65535 is free'), socket.socket() as taken:
        taken.bind(('127.0.0.1', 65535))
        taken.listen()
        free_port(65535)


@pytest.fixture
def running(experiment_file: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """``nni-wcnas run`` in the middle of its first trial."""
    words = [sys.executable, '-m', 'nni_wcnas.cli', 'run', str(experiment_file), '--port', '18380']
    process = subprocess.Popen(
        words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    for line in process.stdout:
        if '1 running' in line:
            break
    yield process
    process.kill()
    process.wait()


def test_run_command_whose_manager_is_killed(running: subprocess.Popen[str], experiment_file: Path) -> None:
    """One sentence with the path of the log, and no process left."""
    started = psutil.Process(running.pid).children(recursive=True)
    (manager,) = psutil.Process(running.pid).children()
    time.sleep(2.5)  # One look at the processes after the trial has started.
    manager.kill()
    output, errors = running.communicate(timeout=60)
    assert running.returncode == 2 and 'Traceback' not in output + errors, errors
    (line,) = errors.splitlines()
    assert 'lost the experiment: its manager no longer answers; see ' in line and Path(line.split('see ')[1]).is_dir()
    assert not [child for child in started if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
    assert not managers(experiment_file.parent)


def test_run_command_whose_tuner_dies(experiment_file: Path, environment: dict[str, str]) -> None:
    """GridSearch cannot have options inside options; NNI's manager would wait for it for ever."""
    text = experiment_file.read_text().replace('{name: Random, classArgs: {seed: 0}}', '{name: GridSearch}')
    limit = '{_type: choice, _value: [1]}'
    nested = f'{{_name: darts, schedule: {{_type: choice, _value: [{{_name: skip_count, limit: {limit}}}]}}}}'
    choices = '{_name: wcnas, trade_off: {_type: uniform, _value: [0.5, 2]}}'
    experiment_file.write_text(text.replace(choices, f'{{_name: darts}}, {nested}'))
    done = subprocess.run(
        [sys.executable, '-m', 'nni_wcnas.cli', 'run', experiment_file, '--port', str(free_port(8300))],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2 and "NNI's tuner died" in done.stderr, done.stderr
    log = Path(done.stderr.strip().rpartition(' in ')[2])
    assert 'KeyError' in (log / 'dispatcher.log').read_text()


def test_results_without_a_success(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where the trial's errors are, and where NNI's log is."""
    job = TrialJob('Ab1', 'FAILED', 0, 3, logPath=str(tmp_path), stderrPath=f'file://localhost:{tmp_path}/stderr')
    assert _conclude(tmp_path, [TrialState.of(job, tmp_path)], f'{tmp_path}/log', name='tiny') == 1
    assert f'trial 3 (Ab1) failed; see {tmp_path}/trial.stderr\nNo trial succeeded; see {tmp_path}/log\n' in (
        capsys.readouterr().out
    )


EXPERIMENTS = sorted(
    path.name for path in (ROOT / 'experiments').glob('*.yml') if not path.name.endswith('.trial.yml')
)


@pytest.mark.parametrize('name', EXPERIMENTS)
def test_shipped_experiments(name: str, tmp_path: Path) -> None:
    """NNI takes the files of the repository, and each of their proposals is right, with nothing to be made first."""
    from nni.experiment.config import ExperimentConfig

    path = ROOT / 'experiments' / name
    config = ExperimentConfig.load(str(path))
    config.validate()
    space = yaml.safe_load(path.read_text()).get('searchSpace') or config.canonical_copy().search_space
    _, _, settings, *more = config.trial_command.split()
    trial = yaml.safe_load((path.parent / settings).read_text())
    assert trial['tester']['pretrained'] == 'auto' and trial['pretraining']['steps'] >= 100
    is_list = is_batch(config.tuner)
    if is_list:
        rows = space['rows']['_value']
        assert config.max_trial_number == len(rows)
        told = [_told(tmp_path, row) for row in config.canonical_copy().search_space['rows']['_value']]
        assert len(set(told)) == len(told), 'the display tells every row from the others'
        for row in rows:
            row.pop('data', None)  # It is not here.
    check_form(space, name, is_list=is_list)
    check_proposals(space, name, path.parent / settings, more[1:], is_list=is_list)


def _told(folder: Path, parameters: dict[str, Any]) -> str:
    """How the display names a trial that was given these."""
    RunDirectory(folder / 'Ab1').write_proposal(parameters)
    return TrialState.of(TrialJob('Ab1', 'RUNNING', 0, 0, hyperParameters=[]), folder).method


LIST = """\
searchSpace: {rows: {_type: choice, _value: %s}}
trialCommand: nni-wcnas trial tiny.trial.yml
trialConcurrency: 1
trialGpuNumber: 0
tuner: {name: BatchTuner}
trainingService: {platform: local}
"""


@pytest.mark.parametrize(
    ('rows', 'words', 'sentence'),
    [
        ('[]', [], 'is no list of trials for BatchTuner; write one key with _type: choice and a _value of maps'),
        ('[1, {seed: 2}]', [], 'is no list of trials for BatchTuner'),
        ('[{seed: 1}, {seeds: 2}]', [], "seeds: is not a known key here; did you mean seed"),
        ('[{method: {_name: wcnass}}]', [], "'wcnass' is not a known preset; did you mean wcnas"),
        ('[{seed: 1}, {data: {_name: cifar10, root: nowhere}}]', [], 'nowhere does not exist; pass the folder'),
        ('[{seed: 1}, {space: {width: 5}}]', [], 'space.width: width must be an even number'),
        ('[{tester: {_name: sn_gan, pretrained: none.pt}}]', [], 'none.pt does not exist; make it with'),
        ('[{auxiliary: resnet19}]', [], 'resnet19'),
        ('[{seed: 1}]', ['seed=3'], '--set seed=3: the tuner proposes seed and would override it'),
        ('[{tester: {_name: sn_gan, width: 8}}]', ['tester.width=4'], 'the tuner proposes tester.width'),
        ('[{search: {epochs: 3}}]', ['search.epochs=4'], 'the tuner proposes search'),
    ],
)
def test_mistakes_in_a_list_of_trials(rows: str, words: list[str], sentence: str, tmp_path: Path) -> None:
    """Each is one sentence, before anything starts."""
    (tmp_path / 'tiny.trial.yml').write_text(SETTINGS)
    (tmp_path / 'list.yml').write_text(LIST % rows)
    with pytest.raises(CommandError, match=re.escape(sentence)):
        load_experiment(tmp_path / 'list.yml', words, cpu=True)


def test_paths_in_proposals_are_relative_to_the_settings_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever the experiment is started."""
    (tmp_path / 'experiments').mkdir()
    (tmp_path / 'runs').mkdir()
    (tmp_path / 'experiments' / 'tiny.trial.yml').write_text(SETTINGS)
    tester = FQGAN(10, image_size=16, width=8, dictionary_size=32, latent=16)
    tester.save(tmp_path / 'runs' / 'tester.pt', TiedAuxiliary(tester))
    rows = '[{tester: {_name: fq_gan, pretrained: ../runs/tester.pt}}]'
    (tmp_path / 'experiments' / 'list.yml').write_text(LIST % rows)
    for folder, name in ((tmp_path, 'experiments/list.yml'), (tmp_path / 'experiments', 'list.yml')):
        monkeypatch.chdir(folder)
        assert load_experiment(name, [], cpu=True)[0].search_space
    (tmp_path / 'runs' / 'tester.pt').unlink()
    with pytest.raises(CommandError, match=re.escape(f'{tmp_path}/runs/tester.pt does not exist')):
        load_experiment(name, [], cpu=True)


def test_a_map_without_a_name_adds_to_its_section(tmp_path: Path) -> None:
    """And leaves the rest of it as the settings file has it."""
    (tmp_path / 'tiny.trial.yml').write_text(SETTINGS.replace('epochs: 1}\n', 'epochs: 1, momentum: 0.5}\n', 1))
    proposal = {'search': {'epochs': 3}, 'method': {'_name': 'darts'}, 'tester': {'_name': 'sn_gan', 'width': 6}}
    settings = load_settings(tmp_path / 'tiny.trial.yml', (), proposal)
    assert (settings.search.epochs, settings.search.momentum) == (3, 0.5)
    assert settings.tester == {'name': 'sn_gan', 'latent': 16, 'width': 6}


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_preset(environment: dict[str, str], tmp_path: Path) -> None:
    """On digits, from YAML, a trial each; a quarter of an hour."""
    words = ['--set', f'directory={tmp_path}', '--port', str(free_port(8600)), '--quiet']
    done = subprocess.run(
        [sys.executable, '-m', 'nni_wcnas.cli', 'run', ROOT / 'experiments' / 'methods.yml', *words],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    settings = [yaml.safe_load(path.read_text()) for path in tmp_path.glob('*/*/settings.yml')]
    assert sorted(found['method']['preset'] for found in settings) == sorted(list_options('preset'))
    assert len(list(tmp_path.glob('*/*/measures.json'))) == len(settings)
