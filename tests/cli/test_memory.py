"""The forecast of a search's memory, and what is said when memory runs out."""

import subprocess
import sys

import pytest
import torch

from nni_wcnas.cli import memory
from nni_wcnas.cli.memory import Forecast, forecast, is_out_of_memory
from nni_wcnas.settings.settings import load_settings, load_trial


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        ((40, 1e9, 1e7, 2e9, 500), 'takes about 1.4 GB, 2.0 GB are free; up to batch_size 80 should fit'),
        ((40, 1e9, 1e7, 2e9, 60), 'up to batch_size 60 should fit'),  # there are no more examples
        ((40, 1e9, 0.0, 2e9, 60), 'takes about 1.0 GB, 2.0 GB are free; up to batch_size 60 should fit'),
        ((400, 1e9, 1e7, 2e9, 500), 'takes about 5.0 GB, 2.0 GB are free; lower data.batch_size to 80'),
        ((400, 1e9, 1e7, 2e9, 500, ', or pray'), 'lower data.batch_size to 80, or pray'),
        ((400, 1e9, 1e7, 1e9, 500), 'lower the size of the space'),
        ((300, 1e9, 1e7, 9e9, 250), 'takes about 3.5 GB, 9.0 GB are free; up to batch_size 250 should fit'),
    ],
)
def test_what_is_said(arguments, said):
    """Nine tenths of the free memory may be filled."""
    text = str(Forecast(*arguments))
    assert text.startswith(f'memory: batch_size {arguments[0]} takes about ') and text.endswith(said)


def test_forecast_is_a_line_through_its_probes(monkeypatch, settings_file):
    monkeypatch.setattr(memory, '_peak_elsewhere', lambda settings, size: 1e9 + 1e7 * size)
    monkeypatch.setattr(memory, '_free', lambda settings: 2e9)
    found = forecast(load_trial(settings_file, ['data.batch_size=40']))
    assert (found.needed, found.largest_batch) == (pytest.approx(1.4e9), 60)
    assert found.remedy == ', or set method.recompute_cells=true'


@pytest.mark.parametrize(
    ('space', 'method', 'remedy'),
    [
        ('darts', 'darts', ', or set method.recompute_cells=true (`nni-wcnas'),
        ('darts', '{preset: darts, recompute_cells: true}', 'lower data.batch_size from 30 (`nni-wcnas'),
        ('nasbench201', 'darts', ', or set method.recompute_cells=true (`nni-wcnas'),
        ('hub_nasbench201', 'darts', 'lower data.batch_size from 30 (`nni-wcnas'),
    ],
)
def test_remedies_are_possible(settings_file, space, method, remedy):
    settings = load_settings(settings_file, [f'space={space}', f'method={method}'], build=())
    assert remedy in memory.out_of_memory(settings)


def _gigabytes(shown):
    assert shown.returncode == 0, shown.stderr
    return float(shown.stdout.split('about ')[1].split(' GB')[0])


def test_forecast_of_a_real_search(here, settings_file):
    size = ('--set', 'data.batch_size=400', '--set', 'space.width=16', '--set', 'method.schedule.warmup=1')
    size += ('--set', 'method.schedule.name=single_stage')
    assert 0.4 < _gigabytes(here('search', settings_file, '--dry-run', *size)) < 8
    assert not (settings_file.parent / 'runs').exists(), 'a dry run writes nothing'


@pytest.mark.slow
def test_forecast_shrinks_when_cells_are_computed_again(here, settings_file):
    size = ('--set', 'data.batch_size=400', '--set', 'space.width=16', '--set')
    found = [
        _gigabytes(here('search', settings_file, '--dry-run', *size, f'method.recompute_cells={recompute}'))
        for recompute in ('false', 'true')
    ]
    assert found[1] < found[0]


def test_errors_of_torch_and_others():
    assert is_out_of_memory(torch.OutOfMemoryError('CUDA out of memory'))
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(RuntimeError('could not create a primitive')), "oneDNN's"
    assert not is_out_of_memory(RuntimeError('shapes differ'))
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


SMALL_MEMORY = """
import resource, sys
import nni_wcnas.cli.search, nni_wcnas.cli.commands, nni_wcnas.settings.settings, nni_wcnas.page.report
from nni_wcnas.cli import main, search
run = search._run

def limited(*arguments):
    pages = int(open('/proc/self/statm').read().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 300 * 2**20, resource.RLIM_INFINITY))
    return run(*arguments)

search._run = limited
sys.exit(main(sys.argv[1:]))
"""


def test_running_out_of_memory_is_one_sentence(settings_file, tmp_path):
    words = ['search', str(settings_file), '--run', str(tmp_path / 'run'), '--set', 'data.batch_size=400']
    words += ['--set', 'data.limit=1000', '--set', 'space.width=64', '--set', 'method=darts']
    done = subprocess.run([sys.executable, '-W', 'ignore', '-c', SMALL_MEMORY, *words], capture_output=True, text=True)
    assert done.returncode == 2, done.stderr[-2000:]
    assert 'Traceback' not in done.stderr
    assert 'ran out of memory; lower data.batch_size from 400, or set method.recompute_cells=true' in done.stderr
