"""``truth`` in a search and ``nni-wcnas lookup``: what is found is judged, and the search stays as it is."""

from __future__ import annotations

import csv
import itertools
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from event_reading import read_events, scalars_of

from nni_wcnas import load_architecture
from nni_wcnas.files.run_directory import RunDirectory
from nni_wcnas.settings.problems import SettingsError
from nni_wcnas.settings.proposals import check_proposals
from nni_wcnas.settings.resolved import resolved
from nni_wcnas.settings.settings import load_settings
from nni_wcnas.spaces import to_string
from nni_wcnas.spaces.candidates import dense_labels
from nni_wcnas.spaces.operations import BENCHMARK_PRIMITIVES

Command = Callable[..., subprocess.CompletedProcess[str]]

SETTINGS = """\
data: {name: digits, limit: 120, batch_size: 30}
space: {name: nasbench201, width: 4, num_cells: 1, operations: [skip_connect, nor_conv_1x1]}
method: {preset: darts, arc_learning_rate: 0.1}
search: {epochs: 2}
truth: {table: table.csv}
retrain: {epochs: 1}
device: cpu
"""
TWO = ('skip_connect', 'nor_conv_1x1')


def write_table(path: Path, operations: Sequence[str] = TWO) -> dict[str, dict[str, str]]:
    """A table of all architectures of these operations, with values at random; the rows by string."""
    generator, names = np.random.default_rng(0), ('clean', 'class_0', 'class_1')
    rows = {}
    for chosen in itertools.product(operations, repeat=6):
        string = to_string(dict(zip(dense_labels(), chosen)))
        rows[string] = {'arch_str': string, **{name: f'{generator.random():.4f}' for name in names}}
    with path.open('w', newline='') as file:
        writer = csv.DictWriter(file, ('arch_str', *names))
        writer.writeheader()
        writer.writerows(rows.values())
    return rows


@pytest.fixture
def settings_file(tmp_path: Path) -> Path:
    """Settings with a table beside them."""
    write_table(tmp_path / 'table.csv')
    path = tmp_path / 's.yml'
    path.write_text(SETTINGS)
    return path


def test_a_search_is_judged_and_stays_as_it_is(settings_file: Path, tmp_path: Path, here: Command) -> None:
    """Metrics, architecture, tensors and random state are those of a search without; the true values are the table's.
    """
    rows = write_table(tmp_path / 'table.csv')
    without = tmp_path / 'without.yml'
    without.write_text(SETTINGS.replace('truth: {table: table.csv}\n', ''))
    runs = [RunDirectory(tmp_path / name) for name in ('judged', 'plain')]
    judged, plain = (here('search', path, '--run', run.path) for path, run in zip((settings_file, without), runs))
    assert judged.returncode == plain.returncode == 0, judged.stderr + plain.stderr
    history, bare = (run.read_history() for run in runs)
    true = [{key: row.pop(key) for key in list(row) if key.startswith('true_')} for row in history]
    assert [{**row, 'seconds': 0} for row in history] == [{**row, 'seconds': 0} for row in bare] and len(bare) == 2
    assert runs[0].architecture.read_bytes() == runs[1].architecture.read_bytes()
    checkpoints = [torch.load(run.checkpoint, weights_only=True) for run in runs]
    states = [checkpoint['nni_wcnas']['random_state'] for checkpoint in checkpoints]
    assert torch.equal(*(state['cpu'] for state in states))
    first, second = (checkpoint['state_dict'] for checkpoint in checkpoints)
    assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
    own = rows[load_architecture(runs[0].architecture).string]
    worst = {string: min(float(row['class_0']), float(row['class_1'])) for string, row in rows.items()}
    assert list(true[-1]) == [f'true_{name}{suffix}' for name in ('clean', 'class_0', 'class_1', 'worst_class')
                              for suffix in ('', '_rank')]
    assert true[-1]['true_clean'] == float(own['clean']) and true[-1]['true_worst_class'] == worst[own['arch_str']]
    assert true[-1]['true_worst_class_rank'] == 1 + sum(value > worst[own['arch_str']] for value in worst.values())
    assert read_events(runs[0].tensorboard)[0] == scalars_of(runs[0].read_history())
    looked_up = here('lookup', runs[0].path, '--table', tmp_path / 'table.csv')
    assert looked_up.stdout in judged.stdout and own['arch_str'] in looked_up.stdout  # The same words.
    assert 'percentile' not in plain.stdout
    shown, left_out = (run.report.read_text() for run in runs)
    assert '<h2>True values</h2>' in shown and f'class="number">{float(own["clean"]):.6g}</td>' in shown
    assert 'Rank of 64' in shown and 'True value: worst class' in shown and 'True value' not in left_out


@pytest.mark.parametrize(
    'method',
    [
        '{preset: drnas, arc_learning_rate: 0.1}',
        '{preset: darts_pt, tune_epochs: 1, arc_learning_rate: 0.1}',
        '{preset: wcnas, every: 1, arc_learning_rate: 0.1}',
        '{preset: darts, arc_learning_rate: 0.1, relaxation: gumbel_softmax}',
    ],
)
def test_the_last_row_is_what_was_found(settings_file: Path, tmp_path: Path, here: Command, method: str) -> None:
    """Whatever reads the architecture off, and from before the search where there is a row of then."""
    rows = write_table(tmp_path / 'table.csv')
    words = ['--set', f'method={method}', '--set', 'truth.columns=[clean]']
    words += ['--set', 'auxiliary=test_resnet'] if 'wcnas' in method else []
    run = RunDirectory(tmp_path / 'run')
    done = here('search', settings_file, '--run', run.path, *words)
    assert done.returncode == 0, done.stderr
    history = run.read_history()
    found = load_architecture(run.architecture).string
    assert history[-1]['true_clean'] == float(rows[found]['clean'])
    assert all({key for key in row if key.startswith('true_')} == {'true_clean', 'true_clean_rank'} for row in history)
    assert (history[0]['epoch'] == 0) == ('wcnas' in method)
    assert 'worst_class' not in done.stdout and 'worst class' not in run.report.read_text()


def test_nnis_space(settings_file: Path, tmp_path: Path, here: Command) -> None:
    """Its architectures are the benchmark's by other names, and take a table of all."""
    space = ('--set', 'space={name: hub_nasbench201, stem_out_channels: 4, num_modules_per_stack: 1}')
    refused = here('search', settings_file, '--run', tmp_path / 'run', *space)
    assert refused.returncode == 2 and 'lacks 15561 architectures that the search can find' in refused.stderr
    rows = write_table(tmp_path / 'table.csv', BENCHMARK_PRIMITIVES)
    done = here('search', settings_file, '--run', tmp_path / 'run', *space)
    assert done.returncode == 0, done.stderr
    architecture, run = load_architecture(tmp_path / 'run' / 'architecture.json'), RunDirectory(tmp_path / 'run')
    assert set(architecture.sample) == {'cell/0_1', 'cell/0_2', 'cell/1_2', 'cell/0_3', 'cell/1_3', 'cell/2_3'}
    assert run.read_history()[-1]['true_clean'] == float(rows[architecture.string]['clean'])
    assert architecture.string in here('lookup', run.architecture, '--table', tmp_path / 'table.csv').stdout


def test_a_run_goes_on_with_another_table(settings_file: Path, tmp_path: Path, here: Command) -> None:
    """It judges alone, so it is not among the settings that a run must keep."""
    assert here('search', settings_file, '--run', tmp_path / 'run').returncode == 0
    write_table(tmp_path / 'other.csv')
    words = ('--resume', '--set', f'truth.table={tmp_path / "other.csv"}')
    assert (done := here('search', settings_file, '--run', tmp_path / 'run', *words)).returncode == 0, done.stderr
    told = RunDirectory(tmp_path / 'run').read_settings()
    assert told['truth'] == {'table': str(tmp_path / 'other.csv')} and told['monitoring']['true_architectures'] == 64


def test_a_trial_reports_them(settings_file: Path, tmp_path: Path, here: Command) -> None:
    words = ('--set', f'directory={tmp_path / "runs"}', '--set', 'truth.columns=[clean, worst_class]')
    done = here('trial', settings_file, *words)
    assert done.returncode == 0, done.stderr
    (metrics,) = (path for path in (tmp_path / 'runs').rglob('metrics.csv') if path.parent.name != 'retraining')
    last = RunDirectory(metrics.parent).read_history()[-1]
    assert f'true_clean {last["true_clean"]:.4g}, true_clean_rank {last["true_clean_rank"]:.4g}' in done.stdout


@pytest.mark.parametrize(
    ('old', 'new', 'expected'),
    [
        ('nasbench201, width: 4, num_cells: 1, operations: [skip_connect, nor_conv_1x1]', 'darts, width: 4',
         's.yml:5: truth.table: the table is of NAS-Bench-201, and the space is darts; use nasbench201 or '
         'hub_nasbench201, or leave truth out'),
        ('nor_conv_1x1]', 'sep_conv_3x3]', "s.yml:5: truth.table: the table is of NAS-Bench-201, whose operations are "
         "'none', 'skip_connect', 'nor_conv_1x1', 'nor_conv_3x3', 'avg_pool_3x3', and the space has 'sep_conv_3x3'"),
        ('nor_conv_1x1]', 'nor_conv_1x1, none]', 's.yml:5: truth.table: table.csv lacks 665 architectures that the '
         'search can find, such as |skip_connect~0|+|skip_connect~0|skip_connect~1|+|skip_connect~0|skip_connect~1|'
         'none~2|; give a table that has all, or take operations out of the space'),
        ('table.csv', 'nowhere.csv', 's.yml:5: truth: nowhere.csv cannot be read (No such file or directory); give a '),
        ('table.csv', 's.yml', 's.yml:5: truth: s.yml has '),
        ('table.csv', 'table.csv, columns: [clan]', "s.yml:5: truth.columns: columns has 'clan', of which table.csv "
         "has no numbers: did you mean 'clean'?"),
        ('table.csv', 'table.csv, columns: []', 's.yml:5: truth.columns: list should have at least 1 item'),
        ('table.csv', 'table.csv, columns: clean', "s.yml:5: truth.columns: must be a list, not 'clean'; change it"),
        ('table: table.csv', 'tble: table.csv', 's.yml:5: truth.tble: is not a known key here; did you mean table?'),
        ('{table: table.csv}', 'table.csv', "s.yml:5: truth: must be a map of keys, not 'table.csv'; change it"),
    ],
)
def test_wrong_settings(settings_file: Path, old: str, new: str, expected: str) -> None:
    """One line each, before anything runs."""
    settings_file.write_text(SETTINGS.replace(old, new))
    with pytest.raises(SettingsError) as caught:
        load_settings(settings_file)
    lines = str(caught.value).replace(f'{settings_file.parent}/', '').splitlines()
    assert any(line.startswith(expected) for line in lines), lines
    assert len(lines) == 1 or 'tble' in new, lines


def test_two_columns_of_one_name(settings_file: Path, tmp_path: Path) -> None:
    text = (tmp_path / 'table.csv').read_text()
    (tmp_path / 'table.csv').write_text(text.replace('class_0', 'clean_rank', 1))
    with pytest.raises(SettingsError, match='columns clean and clean_rank of .* would both be true_clean_rank; list'):
        load_settings(settings_file)
    assert load_settings(settings_file, ['truth.columns=[clean]']).truth is not None


def test_resolved(settings_file: Path, tmp_path: Path) -> None:
    """The path is the file's, wherever the settings are read from again."""
    settings = load_settings(settings_file, ['truth.columns=[clean]'])
    assert resolved(settings)['truth'] == {'table': str(tmp_path / 'table.csv'), 'columns': ['clean']}
    assert 'truth' not in resolved(settings.model_copy(update={'truth': None}))


def test_a_space_that_a_tuner_proposes(settings_file: Path) -> None:
    space = {'space': {'_type': 'choice', '_value': [{'_name': 'nasbench201'}, {'_name': 'darts'}]}}
    with pytest.raises(SettingsError, match='the table is of NAS-Bench-201, and the space is darts'):
        check_proposals(space, 'tuner.yml', settings_file, [])


def test_lookup(tmp_path: Path, finished: Path, here: Command, command: Command) -> None:
    """A string by the command line itself; what is none of the benchmark is told in one sentence."""
    rows = write_table(tmp_path / 'table.csv')
    string = list(rows)[5]
    done = command('lookup', string, '--table', tmp_path / 'table.csv')
    assert done.returncode == 0, done.stderr
    first, *lines = done.stdout.splitlines()
    cells = [[part.strip() for part in line.strip('│┃').replace('┃', '│').split('│')] for line in lines]
    rank = 1 + sum(float(row['clean']) > float(rows[string]['clean']) for row in rows.values())
    assert first == string and ['', 'true value', 'rank of 64', 'percentile'] in cells
    assert ['clean', f'{float(rows[string]["clean"]):.6g}', str(rank), f'{100 * (65 - rank) / 64:.2f}'] in cells
    assert [row[0] for row in cells if len(row) == 4][1:] == ['clean', 'class_0', 'class_1', 'worst_class']

    def refused(source: str | Path, message: str, table: str = 'table.csv') -> None:
        done = here('lookup', source, '--table', tmp_path / table)
        assert done.returncode == 2 and done.stderr.count('\n') == 1 and message in done.stderr, done.stderr

    refused(string.replace('skip_connect', 'none'), 'has no architecture |none~0|+')
    refused(string.replace('skip_connect', 'skip'), "has operation 'skip': did you mean 'skip_connect'?")
    refused(finished, 'architecture.json is of the space darts, and the table of NAS-Bench-201; give an')
    refused(tmp_path / 'none.json', 'none.json: cannot be read, No such file or directory')
    refused(string, 'none.csv cannot be read (No such file or directory)', 'none.csv')
