"""``nni-wcnas evaluate``: which images are hard, what a second call keeps, and options that would do nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nni_wcnas.cli import evaluate as command
from nni_wcnas.cli import main
from nni_wcnas.files.run_directory import RunDirectory

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


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Parts of the data that were predicted."""
    found: list[str] = []
    real = command.predict

    def spied(network: Any, data: Any, part: str) -> Any:
        found.append(part)
        return real(network, data, part)

    monkeypatch.setattr(command, 'predict', spied)
    return found


def judged(measures: dict[str, float]) -> dict[str, float]:
    """What depends on the difficulty or on the groups."""
    return {name: value for name, value in measures.items() if '_hard' in name or '_rest' in name or 'group' in name}


def test_difficulty_and_groups_are_kept(
    run: RunDirectory, tmp_path: Path, evaluate: Any, here: Any, passes: list[str]
) -> None:
    order = np.arange(TESTED)
    scores, groups = array(tmp_path / 'scores.npy', order / TESTED), array(tmp_path / 'groups.npy', order % 3)
    first, said = evaluate('--difficulty', scores, '--share', '0.25', '--groups', groups)
    assert passes == ['test'] and not said and 'error_worst_group' in first
    hardest = json.loads((run.path / 'record.json').read_text())['hardest']
    again, said = evaluate('--attacks', 'fgsm', '--attack-limit', '10')
    assert passes == ['test'] and not said and judged(again) == judged(first)
    assert 'error_attack_fgsm' in again
    evaluate('--difficulty', scores, '--share', '0.25', '--groups', groups)
    assert passes == ['test']
    refused = here('evaluate', run.path, '--cpu', '--share', '0.5')
    assert refused.returncode == 2 and '--share 0.5 needs the difficulty that was measured with (scores of scores.npy' \
        in refused.stderr
    other, said = evaluate('--difficulty', array(scores, -order), '--share', '0.25')
    assert passes == ['test'] * 2 and said.count('\n') == 1
    assert said.startswith("test: difficulty is 'scores of scores.npy ") and said.endswith('is replaced\n')
    assert other['error_hard'] != first['error_hard'] and other['error_worst_group'] == first['error_worst_group']
    record = json.loads((run.path / 'record.json').read_text())
    assert record['hardest'] != hardest and len(record['hardest']) == 16
    assert record['hardest'][0]['position'] == 0
    _, said = evaluate('--difficulty', 'reference')
    assert passes == ['test'] * 3 and said.startswith("test: difficulty is 'reference-digits-")


def test_other_groups_replace_the_first(tmp_path: Path, evaluate: Any, passes: list[str]) -> None:
    """Their names tell them apart, too."""
    groups, names = array(tmp_path / 'groups.npy', np.arange(TESTED) % 3), tmp_path / 'names.json'
    first, _ = evaluate()
    numbered, said = evaluate('--groups', groups)
    assert not said and {**first, **numbered} == numbered and 'error_group_0' in numbered
    names.write_text('{"0": "day"}')
    named, said = evaluate('--groups', groups, '--group-names', names)
    assert 'error_group_day' in named and 'error_group_0' not in named
    assert said.startswith('groups: source is ') and said.count('\n') == 1
    assert passes == ['test'] * 3


def test_groups_of_a_file_stay_where_the_data_have_groups_of_their_own(
    run: RunDirectory, tmp_path: Path, evaluate: Any
) -> None:
    settings = run.read_settings()
    run.write_settings({**settings, 'data': {**settings['data'], 'shortcut': 'dot'}})
    own, _ = evaluate()
    assert {'error_group_cue_agrees', 'error_group_cue_contradicts'} <= set(own)
    given, _ = evaluate('--groups', array(tmp_path / 'groups.npy', np.arange(TESTED) % 3))
    assert 'error_group_2' in given and 'error_group_cue_agrees' not in given
    assert evaluate()[0] == given


def test_the_curve_does_not_depend_on_the_attacks_epsilon(evaluate: Any) -> None:
    first, _ = evaluate('--attacks', 'fgsm', '--attack-epsilons', '0,2', '--attack-limit', '20')
    again, said = evaluate('--attacks', 'fgsm', '--attack-epsilon', '0.5', '--attack-limit', '20')
    points = ('error_attack_pgd_20_at_0', 'error_attack_pgd_20_at_2')
    assert [first[point] for point in points] == [again[point] for point in points]
    assert said == 'attacks: epsilon is 0.5, no longer 8.0; what was measured with that is replaced\n'
    assert again['error_attack_fgsm'] <= first['error_attack_fgsm']
    fewer, _ = evaluate('--attack-epsilons', '2', '--attack-limit', '10')
    assert points[0] not in fewer and fewer['error_attack_fgsm'] == again['error_attack_fgsm']


def test_other_data_are_measured_again(run: RunDirectory, evaluate: Any, passes: list[str]) -> None:
    evaluate('--attacks', 'fgsm', '--attack-limit', '10')
    run.write_settings({**run.read_settings(), 'data': {'name': 'digits', 'batch_size': 30}})
    measures, said = evaluate()
    assert passes == ['test'] * 2 and 'error_attack_fgsm' not in measures
    assert said.endswith('record.json is of other weights or data: all is measured again\n')


@pytest.mark.parametrize(('words', 'message'), [
    ('--cifar-c nowhere', '--cifar-c does nothing without --corruptions; give that, too, or leave it out'),
    ('--kind votes', '--kind does nothing without --difficulty; '),
    ('--kind scores', '--kind does nothing without --difficulty; '),
    ('--kind votes --difficulty reference', '--kind does nothing with --difficulty reference, which is no file; '),
    ('--kind votes --difficulty none', '--kind does nothing with --difficulty none, which is no file; '),
    ('--corruption-severities 3', '--corruption-severities does nothing without --corruptions or --imagenet-c; '),
    ('--corruption-limit 20', '--corruption-limit does nothing without --corruptions or --imagenet-c; '),
    ('--corruptions fog --corruption-severities ,', "--corruption-severities ',' lists nothing; "),
    ('--corruptions ,', "--corruptions ',' lists nothing; "),
    ('--attacks ,', "--attacks ',' lists nothing; "),
    ('--attack-epsilons ,', "--attack-epsilons ',' lists nothing; "),
    ('--attack-limit 20', '--attack-limit does nothing without --attacks or --attack-epsilons; '),
    ('--attack-epsilon 4 --attack-epsilons 1', '--attack-epsilon does nothing without --attacks; '),
    ('--attack-epsilon 4 --attacks cw_l2', '--attack-epsilon does nothing with --attacks cw_l2, which has none; '),
])
def test_options_that_would_do_nothing(words: str, message: str, run: RunDirectory, here: Any) -> None:
    done = here('evaluate', run.path, '--cpu', *words.split())
    assert done.returncode == 2 and done.stderr.count('\n') == 1 and done.stderr.startswith(message), done.stderr
    assert not run.measures.exists()
