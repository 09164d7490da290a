"""``nni-wcnas evaluate``: which images are hard, what a second call keeps, and options that would do nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nni_wcnas.cli import main
from nni_wcnas.evaluation.recording import RunDirectory

DATA = '{name: digits, limit: 60, batch_size: 30}'
SIZE = ('--epochs', '1', '--channels', '4', '--cells', '3', '--cpu')
TESTED = 364
"""Test images of the digits."""


@pytest.fixture(scope='module')
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A retraining of a published cell."""
    run = tmp_path_factory.mktemp('trained') / 'run'
    assert main(['retrain', 'darts_v2', '--data', DATA, '--run', str(run), *SIZE]) == 0
    return run


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> RunDirectory:
    return RunDirectory(shutil.copytree(trained, tmp_path / 'run'))


@pytest.fixture
def evaluate(run: RunDirectory, here: Callable[..., Any]) -> Callable[..., tuple[dict[str, float], str]]:
    """Evaluate the run; what is known afterwards, and what was said on the way."""

    def call(*words: Any) -> tuple[dict[str, float], str]:
        done = here('evaluate', run.path, '--cpu', *words)
        assert done.returncode == 0, done.stderr
        return json.loads(run.measures.read_text()), done.stderr

    return call


def array(path: Path, values: Any) -> Path:
    np.save(path, np.asarray(values))
    return path


def test_the_hard_images_of_a_list(run: RunDirectory, tmp_path: Path, evaluate: Any, here: Any) -> None:
    """They and the rest make up the whole; another share would be another set."""
    hard = array(tmp_path / 'hard.npy', np.arange(20) * 3)
    measures, _ = evaluate('--difficulty', hard, '--kind', 'indices')
    record = json.loads((run.path / 'record.json').read_text())
    assert [each['position'] for each in record['hardest']] == [3 * place for place in range(16)]
    wrong = round(20 * measures['error_hard']) + round((TESTED - 20) * measures['error_rest'])
    assert wrong == round(TESTED * measures['error'])
    assert round(20 * measures['error_hard']) == pytest.approx(20 * measures['error_hard'], abs=1e-9)
    assert record['measured_with']['test']['share'] == 20 / TESTED
    refused = here('evaluate', run.path, '--cpu', '--difficulty', hard, '--kind', 'indices', '--share', '0.2')
    assert refused.returncode == 2 and refused.stderr.count('\n') == 1
    assert '--share 0.2 has no meaning with --kind indices' in refused.stderr
