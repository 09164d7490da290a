"""``pretrained: auto``: made once, shared by what agrees in all that it depends on, gone on with, and counted."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from nni_wcnas.cli import pretrained_files
from nni_wcnas.cli.pretrain import pretrain_tester
from nni_wcnas.cli.pretrained_files import with_pretrained_files
from nni_wcnas.files.run_directory import RunDirectory
from nni_wcnas.files.search_cost import search_cost
from nni_wcnas.settings import assembly
from nni_wcnas.settings.problems import CommandError, SettingsError
from nni_wcnas.settings.resolved import differing_key, resolved
from nni_wcnas.settings.settings import load_settings
from nni_wcnas.tester import FQGAN, pretrain

SMALL = """\
data: {name: digits, limit: 60, batch_size: 10}
space: {name: darts, width: 2, num_cells: 3, num_nodes: 2, operations: [max_pool_3x3, skip_connect, sep_conv_3x3]}
method: {preset: wcnas, every: 1}
search: {epochs: 1}
tester: {name: fq_gan, width: 4, latent: 6, dictionary_size: 5, pretrained: auto}
pretraining: {steps: 2, discriminator_steps: 1}
retrain: {epochs: 1, channels: 4, cells: 3}
directory: runs
"""
POLICY = 'tester={name: augmentation_policy, pretrained: auto}'
RESNET = 'auxiliary={name: test_resnet, steps: 2}'


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of its own."""
    monkeypatch.setenv('NNI_WCNAS_CACHE', str(tmp_path / 'cache'))
    return tmp_path / 'cache'


def prepare(folder: Path, *overrides: str, known: dict[str, str] | None = None) -> tuple[Any, dict[str, Any]]:
    """Settings with files, and what a run writes of them."""
    (folder / 's.yml').write_text(SMALL)
    settings = load_settings(folder / 's.yml', overrides, build=())
    data, strategy = assembly.make_data(settings), assembly.make_strategy(settings)
    return with_pretrained_files(settings, data, strategy, known or {})


def files(cache: Path) -> set[str]:
    """What is in the cache, but for locks."""
    return {path.name for path in cache.glob('*.pt')}


def test_made_once_and_read_by_the_search(tmp_path: Path, cache: Path, capfd: pytest.CaptureFixture[str]) -> None:
    settings, told = prepare(tmp_path)
    generator, auxiliary = settings.tester['pretrained'], settings.auxiliary.pretrained
    assert files(cache) == {Path(generator).name, Path(auxiliary).name}
    assert told['tester'] == generator and told['auxiliary'] == auxiliary
    stored = {name: torch.load(told[name], weights_only=True) for name in ('tester', 'auxiliary')}
    assert stored['tester']['training']['played'] == 2 and stored['auxiliary']['training']['taught'] == 2
    assert told['generator_seconds'] == round(stored['tester']['seconds']['generator'], 3) > 0
    assert told['auxiliary_seconds'] == round(stored['auxiliary']['seconds']['auxiliary'], 3) > 0
    written = {path: path.stat().st_mtime_ns for path in cache.glob('*.pt')}
    assert len(capfd.readouterr().err.splitlines()) == 2
    assert prepare(tmp_path)[1] == told and not capfd.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in cache.glob('*.pt')} == written
    evaluator = assembly.make_evaluator(settings, assembly.make_data(settings), assembly.make_strategy(settings))
    tester, model = evaluator.module.tester, evaluator.module.auxiliary
    assert tester.is_trained
    assert all(torch.equal(value, stored['auxiliary']['auxiliary'][key]) for key, value in model.state_dict().items())
    average = {key: value for key, value in stored['tester']['tester'].items() if key.startswith('average.')}
    assert all(torch.equal(tester.state_dict()[key], value) for key, value in average.items())


@pytest.mark.parametrize('steps', [2, 3])
def test_beside_a_policy_the_auxiliary_model_learns_for_the_steps_of_pretraining(
    steps: int, tmp_path: Path, cache: Path
) -> None:
    settings, _ = prepare(tmp_path, POLICY, f'pretraining={{steps: {steps}}}')
    assert torch.load(settings.auxiliary.pretrained, weights_only=True)['training']['taught'] == steps


def test_a_damaged_file_of_the_cache_is_made_again(
    tmp_path: Path, cache: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    _, told = prepare(tmp_path)
    whole = torch.load(told['tester'], weights_only=True)['tester']
    Path(told['tester']).write_bytes(Path(told['tester']).read_bytes()[:1000])
    capfd.readouterr()
    assert prepare(tmp_path)[1]['tester'] == told['tester']
    said = capfd.readouterr().err
    assert f'{told["tester"]} is damaged' in said and 'pre-training of the generator, once' in said
    again = torch.load(told['tester'], weights_only=True)['tester']
    assert all(torch.equal(value, again[name]) for name, value in whole.items())


@pytest.fixture(scope='module')
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What is written of the files of the plain settings, in a cache for several tests."""
    folder = tmp_path_factory.mktemp('shared')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('NNI_WCNAS_CACHE', str(folder / 'cache'))
        yield prepare(folder)[1]


@pytest.mark.parametrize(('overrides', 'made'), [
    (('pretraining.steps=3',), 'GV'),
    (('pretraining.steps=null', 'pretraining.epochs=1'), 'GV'),
    (('pretraining.lr=0.001',), 'GV'),
    (('pretraining.discriminator_steps=2',), 'GV'),
    (('pretraining.top_k=true',), 'GV'),
    (('pretraining.core_set=2',), 'GV'),
    (('pretraining.batch_size=15',), 'GV'),
    (('pretraining.seed=1',), 'GV'),
    (('seed=1',), 'GV'),
    (('data.limit=80',), 'GV'),
    (('data.batch_size=15',), 'GV'),
    (('tester.width=6',), 'GV'),
    (('tester.weight=2.0',), 'GV'),
    (('tester.ema_decay=0.5',), 'GV'),
    (('auxiliary.steps=3',), 'V'),
    (('auxiliary.epochs=1',), 'V'),
    (('auxiliary.lr=0.1',), 'V'),
    (('auxiliary.momentum=0.5',), 'V'),
    (('auxiliary.gradient_clip_val=1.0',), 'V'),
    ((RESNET,), 'V'),
    (('auxiliary.min_lr=0.01',), ''),
    (('tester.generator_lr=0.01',), ''),
    (('tester.learns=discriminator',), ''),
    (('search.epochs=3', 'method.trade_off=2', 'space.width=4'), ''),
    (('seed=1', 'pretraining.seed=0'), ''),
], ids=str)
def test_what_the_files_depend_on(
    tmp_path: Path, shared: dict[str, Any], overrides: tuple[str, ...], made: str
) -> None:
    first, other = shared, prepare(tmp_path, *overrides)[1]
    letters = {'tester': 'G', 'auxiliary': 'V'}
    assert ''.join(letter for part, letter in letters.items() if first[part] != other[part]) == made


@pytest.mark.parametrize(('overrides', 'taught'), [
    (('pretraining.steps=3',), 3),
    (('pretraining.steps=null', 'pretraining.epochs=4', 'pretraining.discriminator_steps=2'), 6),
    (('auxiliary.steps=4',), 4),
    (('auxiliary.epochs=2',), 6),
    ((POLICY, 'auxiliary={name: test_resnet, epochs: 1}'), 3),
])
def test_the_auxiliary_model_has_its_own_length_or_the_generators(
    tmp_path: Path, cache: Path, overrides: tuple[str, ...], taught: int
) -> None:
    """An epoch has three batches."""
    told = prepare(tmp_path, *overrides)[1]
    assert torch.load(told['auxiliary'], weights_only=True)['training']['taught'] == taught


def test_a_small_resnet_is_made_anew_where_its_width_changes(tmp_path: Path, cache: Path) -> None:
    """Its file depends on the width, and on nothing else of the space."""
    small = (POLICY, 'auxiliary={steps: 2}')
    first = prepare(tmp_path, *small)[1]
    assert prepare(tmp_path, *small, 'space.num_cells=4')[1] == first, 'of the least width in both'
    assert prepare(tmp_path, *small, 'auxiliary.width=4')[1] == first, 'the same number, written'
    other = prepare(tmp_path, *small, 'space.width=60')[1]
    assert other['auxiliary'] != first['auxiliary'] and len(files(cache)) == 2
    stored = torch.load(other['auxiliary'], weights_only=True)['auxiliary']
    assert len(stored['classifier.bn1.weight']) > 4


def test_a_classifier_of_timm_is_shared_by_all_testers(tmp_path: Path, cache: Path) -> None:
    first = prepare(tmp_path, RESNET)[1]
    other = prepare(tmp_path, RESNET, 'tester.width=6')[1]
    assert first['tester'] != other['tester'] and first['auxiliary'] == other['auxiliary']
    policy, told = prepare(tmp_path, RESNET, POLICY)
    assert told['auxiliary'] == first['auxiliary'] and told.keys() == {'auxiliary', 'auxiliary_seconds'}
    assert policy.tester['pretrained'] is None and len(files(cache)) == 3


@pytest.mark.parametrize(('overrides', 'parts'), [
    (('method.trade_off=0',), {'tester'}),
    (('method={preset: dasgm}',), {'tester'}),
    (('method=darts',), set()),
    ((POLICY, RESNET), {'auxiliary'}),
    (('tester={name: corruptions, pretrained: auto}', RESNET), {'auxiliary'}),
    (('tester=perturbation',), set()),
    ((POLICY, RESNET, 'method.trade_off=0'), set()),
    (('tester.pretrained=null', RESNET, 'auxiliary.pretrained=auto'), {'auxiliary'}),
    (('tester.pretrained=null',), set()),
])
def test_what_the_search_does_not_need_is_not_made(
    tmp_path: Path, cache: Path, overrides: tuple[str, ...], parts: set[str]
) -> None:
    told = prepare(tmp_path, *overrides)[1]
    assert {part for part in ('tester', 'auxiliary') if part in told} == parts
    assert len(files(cache) if cache.exists() else ()) == len(parts)


def test_files_of_ones_own_beside_it(tmp_path: Path, cache: Path) -> None:
    """A tied model that learns beside a given generator; a given model beside a made generator."""
    plain = load_settings_of(tmp_path, 'tester.pretrained=null')
    pretrain_tester(plain, tmp_path / 'own.pt', 3)
    told = prepare(tmp_path, f'tester.pretrained={tmp_path / "own.pt"}', 'auxiliary.pretrained=auto')[1]
    assert told['tester'] == str(tmp_path / 'own.pt') and Path(told['auxiliary']).parent == cache
    assert len(files(cache)) == 1
    told = prepare(tmp_path, f'auxiliary.pretrained={tmp_path / "own.pt"}')[1]
    assert told['auxiliary'] == str(tmp_path / 'own.pt') and Path(told['tester']).parent == cache
    told = prepare(tmp_path, f'tester.pretrained={tmp_path / "own.pt"}')[1]
    assert told['auxiliary'] == told['tester'] and told['auxiliary_seconds'] > 0


def load_settings_of(folder: Path, *overrides: str) -> Any:
    (folder / 's.yml').write_text(SMALL)
    return load_settings(folder / 's.yml', overrides)


def test_a_killed_one_goes_on_to_the_same_bits(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('nni_wcnas.cli.pretrain.pretrain', partial(pretrain, checkpoint_every=1))
    steps = 'pretraining.steps=4'
    whole = prepare(tmp_path, steps)[1]
    kept = {part: torch.load(whole[part], weights_only=True)['tester'] for part in ('tester', 'auxiliary')}
    shutil.rmtree(cache)
    calls: list[int] = []

    def dies(self, count, optimizer, _original=FQGAN.train_generator, **options):
        calls.append(count)
        if len(calls) > 2:
            raise KeyboardInterrupt
        return _original(self, count, optimizer, **options)

    with monkeypatch.context() as patch:
        patch.setattr(FQGAN, 'train_generator', dies)
        with pytest.raises(KeyboardInterrupt):
            prepare(tmp_path, steps)
    (left,) = files(cache)
    assert left == f'{Path(whole["tester"]).stem}.partial.pt'
    before = torch.load(cache / left, weights_only=True)
    assert before['training']['played'] == 2
    again = prepare(tmp_path, steps)[1]
    assert again['tester'] == whole['tester'] and files(cache) == {Path(again[part]).name for part in kept}
    assert again['generator_seconds'] > round(before['seconds']['generator'], 3)
    for part, state in kept.items():
        found = torch.load(again[part], weights_only=True)['tester']
        assert all(torch.equal(found[name], value) for name, value in state.items())


def test_two_trials_make_it_once(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Path] = []
    original = pretrained_files.train
    monkeypatch.setattr(pretrained_files, 'train', lambda *given, **options: made.append(given[4]) or original(
        *given, **options))
    settings = load_settings_of(tmp_path)
    data, strategy = assembly.make_data(settings), assembly.make_strategy(settings)
    trials = [threading.Thread(target=with_pretrained_files, args=(settings, data, strategy, {})) for _ in range(2)]
    for trial in trials:
        trial.start()
    for trial in trials:
        trial.join()
    assert len(made) == 2 == len(files(cache))


def test_an_interrupted_run_takes_its_own_files_again(tmp_path: Path, cache: Path) -> None:
    told = prepare(tmp_path)[1]
    moved = {part: shutil.copy(told[part], tmp_path / f'{part}.pt') for part in ('tester', 'auxiliary')}
    again = prepare(tmp_path, 'pretraining.steps=9', known={part: str(path) for part, path in moved.items()})[1]
    assert {part: again[part] for part in moved} == {part: str(path) for part, path in moved.items()}
    (tmp_path / 'tester.pt').unlink()
    assert Path(prepare(tmp_path, known={'tester': str(tmp_path / 'tester.pt')})[1]['tester']).parent == cache


@pytest.mark.parametrize(('text', 'message'), [
    ('pretraining: {step: 3}', 's.yml:9: pretraining.step: is not a known key here; did you mean steps?'),
    ('pretraining: {steps: 0}', 's.yml:9: pretraining.steps: must be at least 1, not 0; change it'),
    ('pretraining: {steps: many}', "s.yml:9: pretraining.steps: must be a whole number, not 'many'; change it"),
    ('pretraining: {top_k: 1}', 's.yml:9: pretraining.top_k: must be true or false, not 1; change it'),
    ('pretraining: {steps: 3, epochs: 2}', 's.yml:9: pretraining.epochs: is 2, and steps are 3: two lengths; keep one'),
    ('auxiliary: {steps: 3, epochs: 2}', 's.yml:9: auxiliary.epochs: is 2, and steps are 3: two lengths; keep one'),
    ('auxiliary: {steps: -1}', 's.yml:9: auxiliary.steps: must be at least 1, not -1; change it'),
])
def test_mistakes(tmp_path: Path, text: str, message: str) -> None:
    written = SMALL.replace('pretraining: {steps: 2, discriminator_steps: 1}\n', '\n') + text + '\n'
    (tmp_path / 's.yml').write_text(written)
    with pytest.raises(SettingsError) as caught:
        load_settings(tmp_path / 's.yml')
    (line,) = str(caught.value).replace(f'{tmp_path}/', '').splitlines()
    assert line.startswith(message)


def test_what_goes_wrong_is_one_sentence(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for overrides, message in (
        (('pretraining.lr=1e38',), 'The tester has diverged: .*; lower pretraining.lr from 1e\\+38$'),
        (('auxiliary.lr=1e38', 'auxiliary.steps=9'), 'diverged: its auxiliary loss .*; lower auxiliary.lr from 1e'),
    ):
        with pytest.raises(CommandError, match=message) as caught:
            prepare(tmp_path, *overrides)
        assert '\n' not in str(caught.value)
    (tmp_path / 'file').touch()
    monkeypatch.setenv('NNI_WCNAS_CACHE', str(tmp_path / 'file'))
    with pytest.raises(CommandError, match='the cache folder .*file cannot be used .*; set NNI_WCNAS_CACHE to another'):
        prepare(tmp_path)


def test_resolved_settings_say_what_acts(tmp_path: Path) -> None:
    everything = resolved(load_settings_of(tmp_path))
    assert everything['tester']['pretrained'] == 'auto'
    assert everything['pretraining'] == {'steps': 2, 'discriminator_steps': 1, 'top_k': False, 'core_set': 1}
    (tmp_path / 'again.yml').write_text(yaml.safe_dump({**everything, 'pretrained': {'tester': 'x.pt'}}))
    assert differing_key(everything, resolved(load_settings(tmp_path / 'again.yml'))) is None
    assert 'pretraining' not in resolved(load_settings_of(tmp_path, 'tester.pretrained=null'))
    assert differing_key(everything, resolved(load_settings_of(tmp_path, 'pretraining.steps=3'))) == 'pretraining.steps'


@pytest.fixture
def with_reference(tmp_path: Path, cache: Path, here: Any) -> Path:
    """The cache, with the reference models of an earlier test if there are any."""
    cache.mkdir(exist_ok=True)
    for path in (Path.home() / '.cache' / 'nni_wcnas').glob('reference-digits-*.pt'):
        os.link(path, cache / path.name) if path.stat().st_dev == cache.stat().st_dev else shutil.copy(path, cache)
    return cache


def test_a_search_counts_it_whoever_made_it(tmp_path: Path, with_reference: Path, here: Any) -> None:
    """In the run's settings, its cost, its report and the final measures; twice the same result."""
    (tmp_path / 's.yml').write_text(SMALL)
    runs = [RunDirectory(tmp_path / name) for name in ('first', 'second')]
    for run in runs:
        done = here('search', tmp_path / 's.yml', '--run', run.path)
        assert done.returncode == 0, done.stderr
        assert 'never trained' not in done.stderr
        told = run.read_settings()['pretrained']
        before = told['generator_seconds'] + told['auxiliary_seconds']
        history = run.read_history()
        spent = sum(row.get('seconds', 0.0) for row in history)
        expected = {'search_seconds': spent + before, 'pretraining_seconds': before}
        assert search_cost(run) == pytest.approx(expected)
        assert 'pretrained.tester' in run.report.read_text()
    one, other = ([{k: v for k, v in row.items() if k != 'seconds'} for row in run.read_history()] for run in runs)
    assert one == other
    assert runs[0].read_settings()['pretrained'] == runs[1].read_settings()['pretrained']
    runs[0].checkpoint.unlink()
    written = runs[0].read_settings()['pretrained']
    assert here('search', tmp_path / 's.yml', '--run', runs[0].path, '--resume').returncode == 0
    assert runs[0].read_settings()['pretrained'] == written


def test_a_generator_that_was_never_trained_is_told_once(tmp_path: Path, command: Any) -> None:
    (tmp_path / 's.yml').write_text(SMALL)
    done = command('search', tmp_path / 's.yml', '--run', tmp_path / 'run', '--set', 'tester.pretrained=null')
    assert done.returncode == 0, done.stderr
    assert done.stderr.count('never trained') == 1
    assert done.stderr.count('the papers have no numbers for these data') == 1 == done.stderr.count('digits: ')
    assert search_cost(RunDirectory(tmp_path / 'run'))['pretraining_seconds'] == 0


@pytest.mark.parametrize(('auxiliary', 'steps'), [('{}', 3), ('{steps: 2}', 2), ('{epochs: 1}', 3)])
def test_the_command_takes_the_same_lengths_beside_a_policy(auxiliary: str, steps: int, tmp_path: Path) -> None:
    """Three batches are an epoch."""
    (tmp_path / 's.yml').write_text(SMALL)
    overrides = [POLICY, 'pretraining={steps: 3}', f'auxiliary={auxiliary}']
    settings = load_settings(tmp_path / 's.yml', overrides, build=())
    pretrain_tester(settings, tmp_path / 'v.pt')
    assert torch.load(tmp_path / 'v.pt', weights_only=True)['training']['taught'] == steps
