"""A setting so small that a search takes seconds, and its shared result."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

TINY = """\
data: {name: digits, limit: 120, batch_size: 30}
space: {name: darts, width: 4, num_cells: 3, operations: [none, max_pool_3x3, skip_connect, sep_conv_3x3]}
method: {preset: wcnas, every: 2}
search: {epochs: 2}
tester: {name: fq_gan, width: 8, dictionary_size: 32, latent: 16}
retrain: {epochs: 2, channels: 4, cells: 3}
directory: runs
"""


@pytest.fixture
def settings_file(tmp_path: Path) -> Path:
    """The tiny settings."""
    path = tmp_path / 'tiny.yml'
    path.write_text(TINY)
    return path


@pytest.fixture(scope='session')
def command() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run ``nni-wcnas`` in a process of its own."""

    def run(*words: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, '-m', 'nni_wcnas.cli', *map(str, words)],
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=280,
            env={**os.environ, 'OMP_NUM_THREADS': '1'},
            check=False,
        )

    return run


@pytest.fixture(scope='session')
def finished(
    tmp_path_factory: pytest.TempPathFactory, command: Callable[..., subprocess.CompletedProcess[str]]
) -> Path:
    """A run directory of a search that was never interrupted."""
    folder = tmp_path_factory.mktemp('finished')
    (folder / 'tiny.yml').write_text(TINY)
    done = command('search', folder / 'tiny.yml', '--run', folder / 'run')
    assert done.returncode == 0, done.stderr
    return folder / 'run'


@pytest.fixture
def here(capfd: pytest.CaptureFixture[str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run ``nni-wcnas`` in this process, where everything is imported already."""
    from nni_wcnas.cli import main

    def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
        capfd.readouterr()
        code = main([*map(str, words)])
        return subprocess.CompletedProcess(words, code, *capfd.readouterr())

    return run
