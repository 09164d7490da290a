"""SIGTERM and the variables of batch systems: what is stopped says so, and a one-device run stays one."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SETTINGS = """
data: {name: digits, limit: 80, batch_size: 20}
space: {name: darts, width: 4, num_cells: 3, num_nodes: 1}
method: darts
search: {epochs: 100}
"""
SLURM = {
    'SLURM_NTASKS': '1', 'SLURM_JOB_ID': '1', 'SLURM_JOB_NAME': 'x', 'SLURM_PROCID': '0', 'SLURM_LOCALID': '0',
    'SLURM_NODEID': '0',
}
OTHERS = {
    'several tasks': {**SLURM, 'SLURM_NTASKS': '4'},
    'torchrun': {
        'TORCHELASTIC_RUN_ID': 'x', 'WORLD_SIZE': '2', 'RANK': '0', 'LOCAL_RANK': '0', 'MASTER_ADDR': 'localhost',
        'MASTER_PORT': '29999', 'GROUP_RANK': '0', 'LOCAL_WORLD_SIZE': '2',
    },
    'kubeflow': {
        'KUBERNETES_PORT': 'x', 'MASTER_ADDR': 'localhost', 'MASTER_PORT': '29999', 'WORLD_SIZE': '2', 'RANK': '0',
    },
    'mpi': {'OMPI_COMM_WORLD_SIZE': '2', 'OMPI_COMM_WORLD_RANK': '0', 'OMPI_COMM_WORLD_LOCAL_RANK': '0'},
    'lsf': {'LSB_JOBID': '1', 'LSB_DJOB_RANKFILE': '/nowhere', 'JSM_NAMESPACE_LOCAL_RANK': '0',
            'JSM_NAMESPACE_SIZE': '2', 'JSM_NAMESPACE_RANK': '0'},
}


def _start(folder: Path, *words: object, environment: dict[str, str] | None = None) -> subprocess.Popen[str]:
    """Start a command in a folder of its own."""
    return subprocess.Popen(
        [sys.executable, '-W', 'ignore', '-m', 'nni_wcnas.cli', *map(str, words)], cwd=folder, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, 'OMP_NUM_THREADS': '1', **(environment or {})},
    )


def _signalled(process: subprocess.Popen[str], table: Path, number: int) -> tuple[int, str]:
    """Send a signal after the second epoch; return the exit code and what was said."""
    limit = time.monotonic() + 200
    while process.poll() is None and (not table.exists() or len(table.read_text().splitlines()) < 3):
        assert time.monotonic() < limit
        time.sleep(0.05)
    process.send_signal(number)
    _, errors = process.communicate(timeout=100)
    return process.returncode, errors


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    path = tmp_path / 'tiny.yml'
    path.write_text(SETTINGS)
    return path


def test_a_search_that_is_terminated_says_so_and_goes_on(settings: Path, tmp_path: Path) -> None:
    run = tmp_path / 'run'
    process = _start(tmp_path, 'search', settings, '--run', run, '--cpu')
    code, errors = _signalled(process, run / 'metrics.csv', signal.SIGTERM)
    assert code == 143 and 'Traceback' not in errors
    assert 'Stopped by SIGTERM; the last whole epoch is kept. Continue with: nni-wcnas search' in errors
    assert errors.strip().endswith('--resume') and not (run / 'architecture.json').exists()
    done = len((run / 'metrics.csv').read_text().splitlines()) - 1
    again = _start(tmp_path, 'search', settings, '--run', run, '--cpu', '--resume')
    while len((run / 'metrics.csv').read_text().splitlines()) - 1 <= done:
        assert again.poll() is None
        time.sleep(0.05)
    again.kill()
    again.communicate()


def test_a_retraining_that_is_terminated_says_so(tmp_path: Path) -> None:
    run, data = tmp_path / 'run', '{name: digits, limit: 80, batch_size: 20}'
    words = ('retrain', 'darts_v2', '--data', data, '--run', run, '--channels', 4, '--cells', 3, '--cpu')
    code, errors = _signalled(_start(tmp_path, *words), run / 'metrics.csv', signal.SIGTERM)
    assert code == 143 and 'Traceback' not in errors and 'Stopped by SIGTERM' in errors and '--resume' in errors


def test_slurm_does_not_requeue_and_leaves_no_file(settings: Path, tmp_path: Path) -> None:
    """Its signal ends the process as it ends any other; a file of Lightning's in the folder is not gone on from."""
    folder, run = tmp_path / 'here', tmp_path / 'run'
    folder.mkdir()
    (folder / 'hpc_ckpt_1.ckpt').write_bytes(b'of another run')
    process = _start(folder, 'search', settings, '--run', run, '--cpu', environment=SLURM)
    code, _ = _signalled(process, run / 'metrics.csv', signal.SIGUSR1)
    assert code == -signal.SIGUSR1
    assert [path.name for path in folder.iterdir()] == ['hpc_ckpt_1.ckpt']
    assert (folder / 'hpc_ckpt_1.ckpt').read_bytes() == b'of another run'


@pytest.fixture(scope='module')
def alone(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What a search finds where no batch system says anything."""
    folder = tmp_path_factory.mktemp('alone')
    return _found(folder, {})


def _found(folder: Path, environment: dict[str, str]) -> str:
    (folder / 'tiny.yml').write_text(SETTINGS.replace('100', '1'))
    search = _start(folder, 'search', 'tiny.yml', '--run', 'run', '--cpu', environment=environment)
    _, errors = search.communicate(timeout=200)
    assert search.returncode == 0, errors
    return (folder / 'run' / 'architecture.json').read_text()


@pytest.mark.parametrize('name', OTHERS)
def test_variables_of_batch_systems_change_nothing(name: str, alone: str, tmp_path: Path) -> None:
    assert _found(tmp_path, OTHERS[name]) == alone
