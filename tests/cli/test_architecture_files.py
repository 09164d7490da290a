"""Bad architecture files: one sentence with file, key and remedy, and nothing is written."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict

import pytest

from nni_wcnas.cli.parser import make_parser, run
from nni_wcnas.settings.problems import CommandError
from nni_wcnas.spaces import published


def _changed(path, **changes):
    document = json.loads(json.dumps(asdict(published.load('darts_v2'))))
    for key, value in changes.items():
        if key == 'sample':
            document['sample'].update(value)
        else:
            document[key] = value
    path.write_text(json.dumps(document))


def _nonsense(path):
    with path.open('wb') as file:
        file.truncate(100_000_000)


@pytest.mark.parametrize(('make', 'words'), [
    (lambda path: _changed(path, sample={'normal/op_2_0': 'sep_conv_9x9'}), ('normal/op_2_0', 'sep_conv_9x9')),
    (lambda path: _changed(path, sample={'normal/input_2_0': [7]}), ('normal/input_2_0', '7')),
    (lambda path: _changed(path, version=2), ("'version' is 2", 'update nni_wcnas')),
    (lambda path: _changed(path, sample={'normal/op_2_0': 3}), ('normal/op_2_0', '3')),
    (lambda path: _changed(path, operations='all'), ("'operations'", 'list the names')),
    (_nonsense, ('100000000 bytes', 'give the architecture.json')),
    (lambda path: path.write_text('{"version": 1, "space"'), ('not JSON', 'give the architecture.json')),
])
def test_retrain_refuses(make, words, tmp_path):
    path = tmp_path / 'architecture.json'
    make(path)
    for line in (['retrain', str(path), '--data', 'digits', '--run', str(tmp_path / 'run'), '--cpu'],
                 ['export', str(path), str(tmp_path / 'network.onnx')]):
        with pytest.raises(CommandError) as refusal:
            run(make_parser().parse_args(line))
        message = str(refusal.value)
        assert '\n' not in message and all(word in message for word in (str(path), *words)), message
    assert [entry.name for entry in tmp_path.iterdir()] == ['architecture.json']


@pytest.mark.parametrize('line', [
    ['retrain', 'darts_v3', '--data', 'digits', '--run', 'run'], ['export', 'darts_v3', 'network.onnx'],
])
def test_nearest_published_cell(line, tmp_path, monkeypatch):
    """A name is no path that cannot be read."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CommandError, match="darts_v3 is no file.*did you mean 'darts_v2'"):
        run(make_parser().parse_args(line))
    assert not list(tmp_path.iterdir())


def test_export_of_a_published_cell_overwrites_nothing(tmp_path):
    pytest.importorskip('onnx')
    file = tmp_path / 'network.onnx'
    line = ['export', 'darts_v2', str(file), '--channels', '4', '--cells', '3', '--image-size', '16']
    assert run(make_parser().parse_args(line)) == 0
    before = file.read_bytes()
    with pytest.raises(CommandError, match='exists already; name another file'):
        run(make_parser().parse_args(line))
    assert file.read_bytes() == before


def test_export_without_onnx(tmp_path):
    """In a process of its own, where the package cannot be imported."""
    code = "import sys; sys.modules['onnx'] = None; from nni_wcnas.cli import main; sys.exit(main(sys.argv[1:]))"
    file = tmp_path / 'network.onnx'
    words = ['export', 'darts_v2', str(file), '--channels', '4', '--cells', '3']
    done = subprocess.run([sys.executable, '-c', code, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and not file.exists()
    assert done.stderr == 'ONNX export needs the package onnx, which is missing: pip install "nni-wcnas[onnx]"\n'
