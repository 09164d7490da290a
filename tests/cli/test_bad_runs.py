"""Runs half written, and files damaged, foreign or too large: one sentence, exit code 2, and nothing is touched."""

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
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from nni_wcnas.cli import evaluate, main
from nni_wcnas.files.run_directory import RunDirectory
from nni_wcnas.spaces import published

Command = Callable[..., subprocess.CompletedProcess[str]]
DATA = '{name: digits, limit: 60, batch_size: 30}'
SIZE = ('--epochs', '1', '--channels', '4', '--cells', '3', '--cpu')


@pytest.fixture(scope='module')
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A retraining of a published cell, measured."""
    run = tmp_path_factory.mktemp('whole') / 'run'
    assert main(['retrain', 'darts_v2', '--data', DATA, '--run', str(run), *SIZE]) == 0
    assert main(['evaluate', str(run), '--cpu']) == 0
    return run


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> RunDirectory:
    """A copy to damage."""
    return RunDirectory(shutil.copytree(whole, tmp_path / 'run'))


@pytest.fixture
def refused(here: Command, tmp_path: Path) -> Callable[..., None]:
    """Check that a command ends with one line that holds some words, and leaves every file as it was."""

    def content() -> dict[Path, tuple[int, int]]:
        found = {path: path.stat() for path in tmp_path.rglob('*')}
        return {path: (stat.st_size, stat.st_mtime_ns) for path, stat in found.items()}

    def check(words: tuple[Any, ...], *parts: str) -> None:
        before = content()
        done = here(*words)
        assert done.returncode == 2 and done.stderr.count('\n') == 1, done.stderr
        assert all(part in done.stderr for part in parts), done.stderr
        assert content() == before

    return check


def _remove(*names: str) -> Callable[[RunDirectory], None]:
    def damage(run: RunDirectory) -> None:
        for name in names:
            (run.path / name).unlink()

    return damage


def _write(name: str, text: str) -> Callable[[RunDirectory], None]:
    return lambda run: (run.path / name).write_text(text) and None


def _cut(name: str, share: float = 0.5) -> Callable[[RunDirectory], None]:
    def damage(run: RunDirectory) -> None:
        content = (run.path / name).read_bytes()
        (run.path / name).write_bytes(content[: int(share * len(content))])

    return damage


def _inflate(name: str) -> Callable[[RunDirectory], None]:
    return lambda run: os.truncate(run.path / name, 100_000_000)


def _empty(run: RunDirectory) -> None:
    shutil.rmtree(run.path)
    run.path.mkdir()


def _settings(**changes: Any) -> Callable[[RunDirectory], None]:
    return lambda run: run.write_settings({**run.read_settings(), **changes})


def _record(**changes: Any) -> Callable[[RunDirectory], None]:
    def damage(run: RunDirectory) -> None:
        path = run.path / 'record.json'
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return damage


def _architecture(key: str, value: Any) -> Callable[[RunDirectory], None]:
    def damage(run: RunDirectory) -> None:
        document = json.loads(run.architecture.read_text())
        document[key] = {**document[key], **value} if isinstance(value, dict) else value
        run.architecture.write_text(json.dumps(document))

    return damage


def _other_architecture(run: RunDirectory) -> None:
    run.write_architecture(published.load('pc_darts_cifar10'))


def _search_checkpoint(run: RunDirectory) -> None:
    torch.save({'state_dict': {}, 'nni_wcnas': 1, 'pytorch-lightning_version': '2'}, run.checkpoint)


def _five_classes(run: RunDirectory) -> None:
    content = torch.load(run.checkpoint, weights_only=True)
    for name in ('classifier.weight', 'classifier.bias'):
        content['network'][name] = content['network'][name][:5]
    torch.save(content, run.checkpoint)


ALL, READERS = ('evaluate', 'compare', 'export'), ('evaluate', 'compare')


@pytest.mark.parametrize(('damage', 'commands', 'parts'), [
    (_empty, ALL, ('run holds no retrained network', '`nni-wcnas retrain`')),
    (_remove('checkpoints/last.ckpt'), ALL, ('run holds no retrained network', '`nni-wcnas retrain`')),
    (_remove('settings.yml'), ALL, ('settings.yml is missing beside a checkpoint; restore it',)),
    (_write('settings.yml', 'data: {name: digits}'), ALL, ('settings.yml', 'nni-wcnas retrain')),
    (_write('settings.yml', 'data:\n  name: digits\nr'), ALL, ('settings.yml is damaged', 'restore it')),
    (_write('settings.yml', 'retrain: ['), ALL, ('settings.yml is damaged', 'restore it')),
    (_inflate('settings.yml'), ALL, ('settings.yml is damaged', '100000000 bytes', 'restore it')),
    (_settings(retrain={'cells': 3}), ALL, ('settings.yml has no number channels', 'restore the file')),
    (_settings(data={}), ('evaluate',), ('settings.yml has no data with a name; restore it',)),
    (_settings(data={'name': 'digit'}), ('evaluate',), ('settings.yml: data: ', 'did you mean')),
    (_settings(data={'name': 'digits', 'size': 3}), ('evaluate',), ('settings.yml: data: ', 'size', 'restore it')),
    (_write('metrics.csv', 'epoch,lr\n0,0.0x'), READERS, ('metrics.csv is damaged', 'delete it')),
    (_cut('checkpoints/last.ckpt'), ALL, ('last.ckpt is damaged', 'restore it')),
    (_inflate('checkpoints/last.ckpt'), ALL, ('last.ckpt is damaged', 'restore it')),
    (_search_checkpoint, ALL, ('last.ckpt: not the checkpoint of a retrain; give the folder of a retraining',)),
    (_other_architecture, ALL, ('last.ckpt: holds the weights of another architecture', 'put back the files')),
    (_five_classes, ('evaluate',), ('last.ckpt is of a network for 5 classes', 'put back the files')),
    (_remove('architecture.json'), ALL, ('architecture.json: cannot be read', 'give the architecture.json of a run')),
    (_architecture('sample', {'normal/op_2_0': 'sep_conv_9x9'}), ALL, ('architecture.json: ', "'sep_conv_9x9'")),
    (_architecture('sample', {'normal/input_2_0': [7]}), ALL, ('architecture.json: ', 'normal/input_2_0', '7')),
    (_architecture('version', 2), ALL, ('architecture.json: ', "'version' is 2", 'update nni_wcnas')),
    (_inflate('architecture.json'), ALL, ('architecture.json: ', '100000000 bytes', 'give the architecture.json')),
])
def test_half_a_run(
    damage: Callable[[RunDirectory], None], commands: tuple[str, ...], parts: tuple[str, ...], run: RunDirectory,
    tmp_path: Path, refused: Callable[..., None],
) -> None:
    """Without a record, so that comparing reads the run itself."""
    _remove('record.json')(run)
    damage(run)
    lines = {'evaluate': ('evaluate', run.path, '--cpu'), 'compare': ('compare', run.path, '--out', tmp_path / 'out'),
             'export': ('export', run.path, tmp_path / 'network.onnx')}
    for command in commands:
        refused(lines[command], str(run.path), *parts)


@pytest.mark.parametrize(('damage', 'parts'), [
    (_cut('record.json'), ('record.json is no record', 'delete it')),
    (_write('record.json', '[1, 2]'), ('record.json is no record', 'delete it')),
    (_write('record.json', '{"error": 0.1}'), ('record.json is no record', "format is 'nni_wcnas record'")),
    (_inflate('record.json'), ('record.json is no record', '100000000 bytes', 'delete it')),
    (_record(version=2), ('record.json is of version 2, but this release reads 1: update nni_wcnas',)),
    (_record(measures={'error': 'small'}), ('record.json is no whole record', 'delete it')),
])
def test_bad_records(
    damage: Callable[[RunDirectory], None], parts: tuple[str, ...], run: RunDirectory, tmp_path: Path,
    refused: Callable[..., None],
) -> None:
    damage(run)
    for words in (('evaluate', run.path, '--cpu'), ('compare', run.path, '--out', tmp_path / 'out'),
                  ('compare', run.path / 'record.json', '--out', tmp_path / 'out')):
        refused(words, *parts)


def test_record_of_other_weights(
    run: RunDirectory, tmp_path: Path, here: Command, refused: Callable[..., None]
) -> None:
    """Is not compared, and is made again."""
    content = torch.load(run.checkpoint, weights_only=True)
    content['network']['classifier.bias'] += 1
    torch.save(content, run.checkpoint)
    compare = ('compare', run.path, '--out', tmp_path / 'out')
    refused(compare, 'record.json is of other weights than', 'make it again with `nni-wcnas evaluate`')
    assert here('evaluate', run.path, '--cpu').returncode == 0
    assert here(*compare).returncode == 0


def test_damaged_measures(run: RunDirectory, here: Command, refused: Callable[..., None]) -> None:
    """The run's own are made again from its record; those of the search around it are not."""
    whole = json.loads(run.measures.read_text())
    for text in ('{"error": 0.', '[1]'):
        run.measures.write_text(text)
        assert here('evaluate', run.path, '--cpu').returncode == 0
        assert json.loads(run.measures.read_text()) == whole
    search = RunDirectory(run.path.parent / 'search')
    search.write_settings({'search': {'epochs': 1}})
    inner = shutil.move(run.path, search.path / 'retraining')
    for text in ('{"search_seconds": 1', '[1]'):
        search.measures.write_text(text)
        refused(('evaluate', inner, '--cpu'), str(search.measures), 'is damaged', 'delete it')


def test_files_of_the_wrong_shape(run: RunDirectory, tmp_path: Path, refused: Callable[..., None]) -> None:
    """Votes of other images, and a published array that is none."""
    votes = tmp_path / 'votes.npy'
    for shape, part in (((3, 10), '3 rows but there are 364 labels'), ((364,), "kind='votes' needs 2 dimensions"),
                        ((364, 4), 'votes on 4 classes')):
        np.save(votes, np.ones(shape))
        refused(('evaluate', run.path, '--difficulty', votes, '--kind', 'votes', '--cpu'), str(votes), part)
    folder = tmp_path / 'digits'
    loaded = load_digits()
    for label in range(10):
        (folder / str(label)).mkdir(parents=True)
        for position, image in enumerate(loaded.images[loaded.target == label][:5]):
            picture = Image.fromarray((16 * image).clip(0, 255).astype(np.uint8)).resize((32, 32))
            picture.save(folder / str(label) / f'{position}.png')
    _settings(data={'name': 'image_folder', 'root': str(folder)})(run)
    _remove('data.json')(run)  # Or the data would be refused for being others.
    arrays = tmp_path / 'CIFAR-10-C'
    arrays.mkdir()
    words = ('evaluate', run.path, '--corruptions', 'fog', '--cifar-c', arrays, '--cpu')
    refused(words, f'no file {arrays / "labels.npy"}; give the folder')
    np.save(arrays / 'labels.npy', np.tile(np.arange(10000, dtype=np.uint8) % 10, 5))
    np.save(arrays / 'fog.npy', np.zeros((10, 32, 32, 3), np.uint8))
    refused(words, f'{arrays / "fog.npy"} holds uint8 of shape (10, 32, 32, 3)', 'unpack the published archive again')


@pytest.mark.parametrize(('option', 'value', 'part'), [
    ('--attack-epsilon', '0', '--attack-epsilon is 0; give a number above 0'),
    ('--attack-epsilons', '1,nan', '--attack-epsilons has a number below 0 or none at all'),
    ('--attack-limit', '9', '--attack-limit 9 is less than one image of each class; give at least 10'),
])
def test_attacks_that_cannot_be(
    option: str, value: str, part: str, run: RunDirectory, refused: Callable[..., None]
) -> None:
    """Said before anything is measured."""
    refused(('evaluate', run.path, '--attacks', 'fgsm', option, value, '--cpu'), part)


def test_retraining_of_a_trial(run: RunDirectory, tmp_path: Path, here: Command, refused: Callable[..., None]) -> None:
    """Has only a checkpoint of its own: the rest is the trial's, also what its search took."""
    trial = RunDirectory(tmp_path / 'trial')
    settings = run.read_settings()
    trial.write_settings({**settings, 'search': {'epochs': 1}})
    trial.write_measures({'accuracy': 0.5, 'search_seconds': 3.5, 'search_memory': 2.0})
    inner = RunDirectory(trial.path / 'retraining')
    inner.checkpoint.parent.mkdir(parents=True)
    inner.checkpoint.write_bytes(run.checkpoint.read_bytes())
    words = ('evaluate', trial.path, '--cpu')
    refused(words, f'{trial.architecture}: cannot be read')
    trial.write_architecture(published.load('darts_v2'))
    assert here(*words).returncode == 0
    record = json.loads((inner.path / 'record.json').read_text())
    costs = {key: entry['value'] for key, entry in record['measures'].items() if key.startswith('search_')}
    assert record['name'] == 'trial' and costs == {'search_seconds': 3.5, 'search_memory': 2.0}
    assert inner.read_measures()['error'] == run.read_measures()['error']


def test_export_needs_a_folder(run: RunDirectory, tmp_path: Path, refused: Callable[..., None]) -> None:
    for file in (run.settings / 'network.onnx', run.settings / 'below' / 'network.onnx'):
        refused(('export', run.path, file), f'{file.parent} cannot be a folder', 'name another file')
    refused(('export', 'darts_v2', tmp_path / 'x.onnx', '--num-classes', '0'), 'num_classes is 0', 'at least 1')


def test_export_of_a_bare_architecture(run: RunDirectory, tmp_path: Path, here: Command) -> None:
    """New weights are for a folder without a run only; images have the side that the network was trained on."""
    onnx = pytest.importorskip('onnx')

    def side(file: Path) -> int:
        return onnx.load(file).graph.input[0].type.tensor_type.shape.dim[3].dim_value

    trained = here('export', run.path, tmp_path / 'trained.onnx')
    assert trained.returncode == 0 and '(trained weights)' in trained.stdout
    bare = RunDirectory(tmp_path / 'bare')
    bare.write_architecture(published.load('darts_v2'))
    done = here('export', bare.path, tmp_path / 'new.onnx', '--channels', '4', '--cells', '3')
    assert done.returncode == 0 and '(new weights)' in done.stdout
    assert (side(tmp_path / 'trained.onnx'), side(tmp_path / 'new.onnx')) == (16, 32)
    assert here('export', run.path, tmp_path / '24.onnx', '--image-size', '24').returncode == 0
    assert side(tmp_path / '24.onnx') == 24
    idle = here('export', run.path, tmp_path / 'idle.onnx', '--num-classes', '5')
    assert idle.returncode == 2 and '--num-classes is of new weights' in idle.stderr
    assert not (tmp_path / 'idle.onnx').exists()
    run.write_settings({**run.read_settings(), 'data': {'name': 'image_folder', 'root': 'none', 'image_size': 64}})
    assert here('export', run.path, tmp_path / '64.onnx').returncode == 0 and side(tmp_path / '64.onnx') == 64


def test_records_of_an_earlier_comparison(
    whole: Path, run: RunDirectory, tmp_path: Path, here: Command, refused: Callable[..., None]
) -> None:
    """Another comparison into the same folder is refused while a record would stay; other files are left alone."""
    out = tmp_path / 'out'
    both = ('compare', whole, run.path, '--name', f'{whole}=first method', '--name', f'{run.path}=first-method')
    assert here(*both, '--out', out).returncode == 0
    names = ['first-method-retraining-0-.json', 'first-method-retraining-0.json']
    assert sorted(path.name for path in (out / 'records').iterdir()) == names
    (out / 'records' / 'notes.json').write_text('{"seed": 3}')
    one = ('compare', run.path, '--name', f'{run.path}=second', '--out', out)
    refused(one, f'{out / "records"} holds records', f'({names[0]} and 1 more)', 'give another --out')
    (out / 'records' / names[1]).write_text('{"format": "nni_wcnas record", "version": 9}')
    refused(one, f'({names[0]} and 1 more)')
    for name in names:
        (out / 'records' / name).unlink()
    for _ in range(2):  # Its own are replaced.
        assert here(*one).returncode == 0
        assert sorted(path.name for path in (out / 'records').iterdir()) == ['notes.json', 'second-retraining-0.json']


def test_killed_while_corruptions_are_measured(
    whole: Path, tmp_path: Path, here: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same command makes what is missing, and nothing else; the files are those of a run that was not killed."""
    killed, never = (RunDirectory(shutil.copytree(whole, tmp_path / name / 'run')) for name in ('killed', 'never'))
    names = ('fog', 'zoom_blur', 'frost', 'jpeg_compression', 'elastic_transform', 'snow')
    more = ('--corruptions', ','.join(names), '--corruption-severities', '5', '--corruption-limit', '200', '--cpu')

    def known() -> dict[str, Any]:
        return json.loads((killed.path / 'record.json').read_text())['measures']

    process = subprocess.Popen(
        [sys.executable, '-m', 'nni_wcnas.cli', 'evaluate', str(killed.path), *more], stdout=subprocess.DEVNULL,
        env={**os.environ, 'OMP_NUM_THREADS': '1'},
    )
    deadline = time.monotonic() + 120
    while 'error_corruption_fog_5' not in known() and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    left = [name for name in names if f'error_corruption_{name}_5' not in known()]
    made: list[str] = []
    real = evaluate.corruption_errors

    def spied(*parts: Any, names: list[str], **options: Any) -> Any:
        made.extend(names)
        return real(*parts, names=names, **options)

    monkeypatch.setattr(evaluate, 'corruption_errors', spied)
    assert here('evaluate', killed.path, *more).returncode == 0
    assert made == left and 0 < len(left) < len(names)
    assert here('evaluate', never.path, *more).returncode == 0
    for name in ('measures.json', 'record.json', 'report.html'):
        assert (killed.path / name).read_bytes() == (never.path / name).read_bytes()
