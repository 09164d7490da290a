"""The search command end to end: its files, resuming, and what it refuses."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from event_reading import read_events, scalars_of

from nni_wcnas import load_architecture
from nni_wcnas.files.run_directory import RunDirectory
from nni_wcnas.retrain.retraining import Retraining

Command = Callable[..., subprocess.CompletedProcess[str]]


def test_files(finished: Path) -> None:
    """Everything that a run directory promises."""
    run = RunDirectory(finished)
    assert load_architecture(run.architecture).space == 'darts'
    rows = run.read_history()
    assert [row['epoch'] for row in rows] == [0, 1, 2]
    assert {
        'loss_A',
        'loss_B',
        'loss_W',
        'loss_G',
        'loss_S',
        'loss_V',
        'val_accuracy',
        'val_accuracy_hard',
        'entropy',
        'skips',
        'momentum',
        'weight',
        'lr',
        'reference_error',
    } <= set(rows[-1])
    assert list(run.generated()) == [0, 1, 2]
    assert all(
        path.stat().st_size for path in (run.report, run.cell('normal'), run.cell('reduce'), *run.generated().values())
    )
    settings = run.read_settings()
    assert settings['search']['lr'] == 0.025 and settings['versions']['nni']
    torch.load(run.checkpoint, weights_only=True)


def test_killed_and_resumed(finished: Path, settings_file: Path, tmp_path: Path, command: Command) -> None:
    """SIGKILL in the middle of the second epoch changes nothing in the end."""
    run = RunDirectory(tmp_path / 'run')
    words = [sys.executable, '-m', 'nni_wcnas.cli', 'search', str(settings_file), '--run', str(run.path)]
    process = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env={**os.environ, 'OMP_NUM_THREADS': '1'}
    )
    assert process.stdout is not None and process.stdout.readline().startswith('epoch 1/2')
    deadline = time.monotonic() + 60
    while not run.checkpoint.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.3)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not run.architecture.exists()
    resumed = command('search', settings_file, '--run', run.path, '--resume')
    assert resumed.returncode == 0, resumed.stderr
    whole = RunDirectory(finished)
    assert run.architecture.read_bytes() == whole.architecture.read_bytes()
    first, second = (torch.load(one.checkpoint, weights_only=True)['state_dict'] for one in (whole, run))
    assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
    for ours, theirs in zip(run.read_history(), whole.read_history(), strict=True):
        assert {**ours, 'seconds': 0} == {**theirs, 'seconds': 0}
    assert read_events(run.tensorboard) == (scalars_of(run.read_history()), {'generated': [0, 1, 2]})


def test_refuses_a_taken_directory_and_other_settings(finished: Path, settings_file: Path, here: Command) -> None:
    """Each in one sentence, exit code 2."""
    taken = here('search', settings_file, '--run', finished)
    assert taken.returncode == 2 and taken.stderr.strip().endswith(
        'continue it with --resume, or give another directory with --run'
    )
    other = here('search', settings_file, '--run', finished, '--resume', '--set', 'search.lr=0.1')
    assert other.returncode == 2 and 'search.lr differs' in other.stderr
    assert 'Traceback' not in taken.stderr + other.stderr


def test_refuses_half_a_checkpoint(finished: Path, settings_file: Path, tmp_path: Path, here: Command) -> None:
    """A truncated file is named, not loaded."""
    run = RunDirectory(tmp_path / 'run')
    run.checkpoint.parent.mkdir(parents=True)
    content = RunDirectory(finished).checkpoint.read_bytes()
    run.checkpoint.write_bytes(content[: len(content) // 2])
    run.settings.write_bytes(RunDirectory(finished).settings.read_bytes())
    refused = here('search', settings_file, '--run', run.path, '--resume')
    assert refused.returncode == 2 and 'Traceback' not in refused.stderr
    assert str(run.checkpoint) in refused.stderr and 'is damaged' in refused.stderr


def test_interrupted(settings_file: Path, tmp_path: Path) -> None:
    """Ctrl-C: exit code 130 and the command that continues."""
    words = [
        sys.executable,
        '-m',
        'nni_wcnas.cli',
        'search',
        str(settings_file),
        '--run',
        str(tmp_path / 'run'),
        '--set',
        'search.epochs=50',
    ]
    process = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, 'OMP_NUM_THREADS': '1'}
    )
    assert process.stdout is not None and process.stdout.readline().startswith('epoch 1/50')
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert 'Continue with: nni-wcnas search' in errors and '--resume' in errors and 'Traceback' not in errors


@pytest.mark.parametrize('name', ['retrain', 'trial'])
def test_interrupted_retraining(
    name: str, finished: Path, settings_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: Command
) -> None:
    """Ctrl-C while a found cell is trained: as in a search, though Lightning makes an exit of it."""
    epochs = []
    whole = Retraining.epoch_record

    def interrupted(module: Retraining) -> dict[str, float]:
        epochs.append(module.current_epoch)
        if len(epochs) == 2:
            raise KeyboardInterrupt
        return whole(module)

    monkeypatch.setattr(Retraining, 'epoch_record', interrupted)
    data = '{name: digits, limit: 120, batch_size: 30}'
    words = {
        'retrain': ['retrain', finished, '--data', data, '--epochs', '3', '--channels', '4', '--cells', '3'],
        'trial': ['trial', settings_file, '--set', f'directory={tmp_path / "runs"}', '--set', 'search.epochs=1'],
    }[name]
    words += ['--run', tmp_path / 'run', '--resume'] if name == 'retrain' else []
    monkeypatch.setattr(sys, 'argv', ['nni-wcnas', *map(str, words)])
    monkeypatch.setattr(signal, 'signal', lambda *_: None)  # Lightning ignores SIGINT from then on.
    stopped = here(*words)
    assert stopped.returncode == 130
    assert f'Continue with: nni-wcnas {name} ' in stopped.stderr and 'Traceback' not in stopped.stderr
    (checkpoint,) = tmp_path.rglob('run*/**/checkpoints/last.ckpt' if name == 'retrain' else 'retraining/**/last.ckpt')
    assert len(torch.load(checkpoint, weights_only=True)['history']) == 1
    assert (stopped.stderr.count('--resume') == 1) == (name == 'retrain')


def test_retrain_evaluate_report(finished: Path, tmp_path: Path, here: Command) -> None:
    """What follows a search."""
    folder = tmp_path / 'retrained'
    data = '{name: digits, limit: 120, batch_size: 30}'
    words = ('retrain', finished, '--data', data, '--epochs', '1', '--channels', '4', '--cells', '3', '--run', folder)
    assert (done := here(*words)).returncode == 0, done.stderr
    again = here(*words)
    assert again.returncode == 2 and '--resume' in again.stderr
    measured = here('evaluate', folder)
    assert measured.returncode == 0, measured.stderr
    assert 'hardest 10%' in measured.stdout
    assert {'error', 'error_hard', 'parameters', 'macs'} <= json.loads((folder / 'measures.json').read_text()).keys()
    checkpoint = folder / 'checkpoints' / 'last.ckpt'
    whole = checkpoint.read_bytes()
    checkpoint.write_bytes(whole[: len(whole) // 2])
    damaged = here('evaluate', folder)
    assert damaged.returncode == 2 and 'last.ckpt is damaged' in damaged.stderr
    checkpoint.write_bytes(whole)
    absurd = here('retrain', finished, '--data', data, '--epochs', '0', '--run', tmp_path / 'none')
    assert absurd.returncode == 2 and not (tmp_path / 'none').exists()
    rising = here('retrain', finished, '--data', data, '--min-lr', '0.1', '--run', tmp_path / 'none')
    assert rising.returncode == 2 and not (tmp_path / 'none').exists()
    assert 'min_lr=0.1 is above lr (0.025), so the rate would rise' in rising.stderr
    assert here('report', folder).returncode == 0
    missing = here('evaluate', finished)
    assert missing.returncode == 2 and 'nni-wcnas retrain' in missing.stderr
    wrong = here('retrain', finished, '--data', 'digit', '--run', tmp_path / 'x')
    assert wrong.returncode == 2 and 'did you mean digits?' in wrong.stderr


@pytest.fixture
def broken(finished: Path, tmp_path: Path) -> Path:
    """A copy of a finished run, for tests to damage."""
    return Path(shutil.copytree(finished, tmp_path / 'broken'))


def refused(done: subprocess.CompletedProcess[str], *parts: str) -> None:
    """Exit code 2 and one line that holds all parts."""
    assert done.returncode == 2 and done.stderr.count('\n') == 1, done.stderr
    assert all(part in done.stderr for part in parts), done.stderr


def test_bad_paths(finished: Path, settings_file: Path, tmp_path: Path, here: Command) -> None:
    """A file where a folder must be, and the other way round."""
    data = '{name: digits, limit: 120, batch_size: 30}'
    for path in (settings_file, settings_file / 'below'):
        refused(here('search', settings_file, '--run', path), f'{path} cannot be a folder', 'give another with --run')
        refused(
            here('retrain', finished, '--data', data, '--run', path),
            f'{path} cannot be a folder',
            'give another with --run',
        )
    refused(here('pretrain', settings_file, tmp_path, '--resume'), f'{tmp_path} is a folder; name a file in it')
    refused(here('pretrain', settings_file, settings_file / 'tester.pt'), 'cannot be a folder', 'name another file')


@pytest.mark.parametrize(
    ('name', 'content', 'reader', 'remedy'),
    [
        ('settings.yml', 'a: [', 'search', 'start a new run in another directory'),
        ('settings.yml', 'a: [', 'report', 'start a new run in another directory'),
        ('settings.yml', 'only text', 'report', 'it holds no keys'),
        ('metrics.csv', 'epoch,lr\n1,fast\n', 'report', 'which writes it again, or delete it'),
        ('metrics.csv', 'epoch,lr\n1,2,3\n', 'report', 'which writes it again, or delete it'),
        ('metrics.csv', '\0\ud800', 'report', 'which writes it again, or delete it'),
        ('measures.json', '[1]', 'report', '`nni-wcnas evaluate`, or delete it'),
        ('architecture.json', '{', 'report', 'give the architecture.json of a run'),
    ],
)
def test_damaged_files(
    name: str, content: str, reader: str, remedy: str, broken: Path, settings_file: Path, here: Command
) -> None:
    """One sentence with the file and the remedy."""
    (broken / name).write_bytes(content.encode(errors='surrogatepass'))
    words = ['search', settings_file, '--run', broken, '--resume'] if reader == 'search' else ['report', broken]
    refused(here(*words), str(broken / name), remedy)


@pytest.mark.parametrize('missing', ['nni_wcnas', 'pytorch-lightning_version', 'state_dict'])
def test_foreign_checkpoint(missing: str, broken: Path, settings_file: Path, here: Command) -> None:
    """A checkpoint of something else is no checkpoint of a search."""
    run = RunDirectory(broken)
    content = torch.load(run.checkpoint, weights_only=True)
    del content[missing]
    torch.save(content, run.checkpoint)
    refused(
        here('search', settings_file, '--run', broken, '--resume'),
        f'{run.checkpoint}: not the checkpoint of a search; delete it to start again',
    )


def test_pretrain(settings_file: Path, tmp_path: Path, here: Command) -> None:
    """A pre-trained tester is written, and taken by a check of the settings that name it."""
    out = tmp_path / 'tester.pt'
    done = here('pretrain', settings_file, out, '--steps', '2')
    assert done.returncode == 0, done.stderr
    seconds = torch.load(out, weights_only=True)['seconds']
    told = f'(generator {seconds["generator"]:.1f} s, auxiliary model {seconds["auxiliary"]:.1f} s)'
    assert f'pre-training: {sum(seconds.values()):.1f} s {told}' in done.stdout
    assert here('pretrain', settings_file, out, '--steps', '2').returncode == 2
    settings = yaml.safe_load(settings_file.read_text())
    settings['tester']['pretrained'] = 'tester.pt'
    settings_file.write_text(yaml.safe_dump(settings))
    from nni_wcnas.settings.settings import load_settings

    assert load_settings(settings_file).tester is not None


def test_help_is_instant(here: Command) -> None:
    """No heavy import before the arguments are read; examples in each help."""
    code = 'import sys; import nni_wcnas.cli.parser; sys.exit(bool({"torch", "nni", "pydantic"} & {*sys.modules}))'
    assert subprocess.run([sys.executable, '-c', code], check=False).returncode == 0
    for name in (
        'search', 'trial', 'run', 'pretrain', 'retrain', 'evaluate', 'compare', 'export', 'lookup', 'report', 'options'
    ):
        with pytest.raises(SystemExit):
            here(name, '--help')
    assert 'worst_case' in here('options').stdout


@pytest.mark.parametrize(('rate', 'steps'), [('1e+38', '6'), ('1e+09', '3')], ids=['losses', 'images'])
def test_diverged_pretraining(settings_file: Path, tmp_path: Path, here: Command, rate: str, steps: str) -> None:
    """One sentence with the rate that is at fault, and no file."""
    out = tmp_path / 'tester.pt'
    done = here('pretrain', settings_file, out, '--steps', steps, '--lr', rate)
    assert done.returncode == 2 and 'Traceback' not in done.stderr
    assert 'diverged' in done.stderr and f'lower --lr from {rate}' in done.stderr and not out.exists()


def test_options_of_cells_on_a_space_without_any(settings_file: Path, tmp_path: Path, here: Command) -> None:
    """Said before a run is begun."""
    words = ('--set', 'space=hub_nasbench201')
    words += ('--set', 'method={preset: darts, recompute_cells: true, compile: true}')
    done = here('search', settings_file, '--run', tmp_path / 'run', *words)
    assert done.returncode == 2 and not (tmp_path / 'run').exists()
    for key in ('recompute_cells', 'compile'):
        assert f'method.{key}: acts on cells, and hub_nasbench201 has none; leave it out' in done.stderr


def test_evaluate_and_compare(finished: Path, tmp_path: Path, here: Command) -> None:
    """Three commands from a search to the page; what was measured is not measured again."""
    folder = tmp_path / 'retrained'
    data = '{name: digits, limit: 120, batch_size: 30}'
    size = ('--epochs', '1', '--channels', '4', '--cells', '3', '--run', folder, '--cpu')
    assert here('retrain', finished, '--data', data, *size).returncode == 0
    asked = ('--corruptions', 'fog', '--corruption-severities', '1,5', '--corruption-limit', '20',
             '--attacks', 'fgsm', '--attack-limit', '20', '--cpu')
    assert (done := here('evaluate', folder, *asked)).returncode == 0, done.stderr
    measures = json.loads((folder / 'measures.json').read_text())
    new = {'error_corruption_fog_1', 'error_corruption_fog_5', 'error_attack_fgsm', 'ece_hard', 'loss_cvar'}
    assert new <= measures.keys()
    kept = json.dumps({**measures, 'error_attack_fgsm': 0.125})
    record = json.loads((folder / 'record.json').read_text())
    record['measures']['error_attack_fgsm']['value'] = 0.125
    (folder / 'record.json').write_text(json.dumps(record))
    assert here('evaluate', folder, *asked).returncode == 0
    assert json.loads((folder / 'measures.json').read_text()) == json.loads(kept)
    other = here('evaluate', folder, '--attacks', 'fgsm', '--attack-limit', '20', '--attack-epsilon', '4', '--cpu')
    assert other.returncode == 0 and json.loads((folder / 'measures.json').read_text())['error_attack_fgsm'] != 0.125
    assert (done := here('compare', folder, '--out', tmp_path / 'out')).returncode == 0, done.stderr
    assert [path.name for path in (tmp_path / 'out' / 'records').iterdir()] == ['wcnas-seed-0-retraining-0.json']
    assert 'One method alone' in (tmp_path / 'out' / 'compare.html').read_text()
    np.save(tmp_path / 'groups.npy', np.zeros(3, dtype=int))
    refused(here('evaluate', folder, '--groups', tmp_path / 'groups.npy'), 'shape (3,)', 'each of the 364 test')
    refused(here('evaluate', folder, '--attacks', 'fgms'), 'did you mean fgsm?')
    refused(here('compare', folder, tmp_path / 'none', '--out', tmp_path / 'x'), 'there is no such run or record')
    refused(here('compare', finished, '--out', tmp_path / 'x'), 'not the checkpoint of a retrain')
    whole = (folder / 'settings.yml').read_text()
    (folder / 'settings.yml').write_text(whole.replace('channels: 4', 'channels: 8'))
    refused(here('evaluate', folder), 'holds the weights of another architecture', '8 channels')
    (folder / 'settings.yml').write_text(whole)
    (folder / 'record.json').write_text('{"format"')
    refused(here('evaluate', folder), 'record.json is no record')
    assert (folder / 'record.json').read_text() == '{"format"' and not (tmp_path / 'x').exists()
