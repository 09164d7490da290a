"""``nni-wcnas retrain --devices``: one command, several processes; interrupted, and gone on with."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

WORDS = ('darts_v2', '--data', '{name: digits, limit: 151, batch_size: 33}', '--channels', '4', '--cells', '3',
         '--drop-path', '0.5', '--cpu')


@pytest.mark.parametrize(
    ('devices', 'more', 'message'),
    [
        ('0', (), 'devices is 0: give at least 1\n'),
        ('17', (), 'A batch of 33 examples is too small for batch normalisation on 17 devices; use at least 34, or'),
        ('1', ('--optimizer', 'adamv'), "optimizer='adamv' is none of those of timm that can be used here; "
                                        "did you mean 'adam'?\n"),
    ],
)
def test_refused_before_anything_is_written(
    devices: str, more: tuple[str, ...], message: str, tmp_path: Path, here: Any
) -> None:
    done = here('retrain', *WORDS, '--run', tmp_path / 'run', '--devices', devices, *more)
    assert done.returncode == 2 and message in done.stderr and done.stderr.count('\n') == 1
    assert not (tmp_path / 'run').exists()


@pytest.mark.skipif(torch.cuda.device_count() > 1, reason='needs a machine without two GPUs')
def test_more_than_there_are(tmp_path: Path, here: Any) -> None:
    done = here('retrain', *WORDS[:-1], '--run', tmp_path / 'run', '--devices', '2')
    assert done.returncode == 2 and 'devices is 2, but the GPUs here are' in done.stderr
    assert not (tmp_path / 'run').exists()


def interrupted(words: list[str], table: Path, rows: int, *, alone: bool) -> str:
    """Start a command, press Ctrl-C once the table has so many rows, and return what it said."""
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    while not table.exists() or table.read_text().count('\n') < 1 + rows:
        assert process.poll() is None
        time.sleep(0.05)
    if alone:
        os.kill(process.pid, signal.SIGINT)
    else:
        os.killpg(process.pid, signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and output == ''
    with pytest.raises(ProcessLookupError):  # Soon nobody of its group is left.
        for _ in range(100):
            os.killpg(process.pid, 0)
            time.sleep(0.1)
    return errors


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_interrupted_and_resumed(
    tmp_path: Path, command: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """On Ctrl-C all processes end, and say once how to go on; what goes on ends in the same bits, written once."""
    words = ['retrain', *WORDS, '--devices', '2', '--epochs', '12', '--run']
    run, whole = tmp_path / 'run', tmp_path / 'whole'
    program = [sys.executable, '-m', 'nni_wcnas.cli', *words, str(run)]
    said = interrupted(program, run / 'metrics.csv', 1, alone=False)
    assert said == interrupted([*program, '--resume'], run / 'metrics.csv', 3, alone=True)
    assert said.startswith('Interrupted; the last whole epoch is kept. Continue with: nni-wcnas retrain')
    assert said.count('\n') == 1 and said.rstrip().endswith('--resume')
    other = command('retrain', *WORDS, '--epochs', '12', '--run', run, '--resume')
    assert other.returncode == 2 and 'was made with devices=2, not 1' in other.stderr and other.stderr.count('\n') == 1
    for done in (command(*words, run, '--resume'), command(*words, whole)):
        assert done.returncode == 0 and done.stderr == '' and done.stdout.count('\n') == 2
    assert (run / 'metrics.csv').read_text() == (whole / 'metrics.csv').read_text()
    assert (run / 'metrics.csv').read_text().count('\n') == 13
    states = [torch.load(path / 'checkpoints' / 'last.ckpt', weights_only=True)['network'] for path in (run, whole)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert yaml.safe_load((run / 'settings.yml').read_text())['retrain']['devices'] == 2
    assert command('evaluate', run, '--share', '0.5').returncode == 0
