"""Which generator the pictures of a search come from, that watching changes nothing, and B's trajectory."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from event_reading import read_events, scalars_of
from tiny_reference import untrained
from worst_case_search import run

import nni_wcnas as wc
from nni_wcnas.cli import recorder
from nni_wcnas.cli.parser import make_parser
from nni_wcnas.cli.recorder import Recorder
from nni_wcnas.files.run_directory import RunDirectory
from nni_wcnas.measure.image.image_judge import ImageJudge
from nni_wcnas.page.event_file import EventFile
from nni_wcnas.tester import FQGAN
from nni_wcnas.tester.pretraining_lengths import STEPS


def test_grids_and_reference_error_show_the_live_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    """The images change with the live generator, and not with its average; nothing is drawn from the search's noise."""
    grids: list[torch.Tensor] = []
    judged: list[torch.Tensor] = []
    monkeypatch.setattr(recorder, 'write_generated', lambda run, epoch, images, *_: grids.append(images))
    run = SimpleNamespace(write_history=lambda rows: 0)
    judge = SimpleNamespace(real=None, measures=lambda images, *_: judged.append(images) or {'reference_error': 0.5})
    tester = FQGAN(2, image_size=16, width=4, latent=6, dictionary_size=5)
    module = SimpleNamespace(training_module=SimpleNamespace(tester=tester))

    def recorded(network: torch.nn.Module | None) -> None:
        if network is not None:
            torch.nn.init.normal_(network.linear.weight)
        state = torch.get_rng_state()
        Recorder(run, judge).on_train_start(None, module)
        assert torch.equal(torch.get_rng_state(), state)

    for network in (None, tester.average.module, tester.generator):
        recorded(network)
    for first, other_average, other_generator in (grids, judged):
        assert torch.equal(first, other_average)
        assert not torch.equal(first, other_generator)


def test_pre_training_averages_by_default() -> None:
    """Of the copy that the average begins with, the default number of steps leaves less than a thousandth."""
    assert make_parser().parse_args(['pretrain', 'settings.yml', 'out.pt']).steps is None
    settings = FQGAN(2, image_size=16, width=4, latent=6, dictionary_size=5).settings()
    assert settings['ema_decay'] ** max(STEPS - settings['ema_start'], 0) < 1e-3


@pytest.fixture(scope='module')
def watched(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunDirectory, Recorder, Any]:
    """A search with everything that watches it."""
    folder = RunDirectory(tmp_path_factory.mktemp('watched'))
    data = wc.data.Digits(batch_size=8, limit=64)
    recorder = Recorder(folder, ImageJudge(untrained(data), data), events=EventFile(folder))
    return folder, recorder, searched(folder, recorder)


def searched(folder: RunDirectory, *callbacks: Any) -> Any:
    """The module of a worst-case search of two epochs."""
    arguments = {'epochs': 2, 'callbacks': list(callbacks), 'checkpoint_directory': folder.checkpoint.parent}
    return run(wc.presets.wcnas(every=2), **arguments).oneshot_module


def test_watching_changes_no_bit_of_the_search(watched: tuple[RunDirectory, Recorder, Any], tmp_path: Path) -> None:
    """Parameters, statistics and the random state are those of a search that nobody watched."""
    with_it = watched[2].state_dict()
    without = searched(RunDirectory(tmp_path)).state_dict()
    random_states = [
        torch.load(folder.checkpoint, weights_only=True)['nni_wcnas']['random_state']
        for folder in (watched[0], RunDirectory(tmp_path))
    ]
    assert torch.equal(*(state['cpu'] for state in random_states))
    assert with_it.keys() == without.keys()
    assert all(torch.equal(with_it[name], without[name]) for name in with_it)


def test_b_is_recorded_from_before_the_search_on(watched: tuple[RunDirectory, Recorder, Any]) -> None:
    """By the tester's own names; the last row is the tester as the search has left it."""
    folder, recorder, module = watched
    rows = folder.read_history()
    assert rows == recorder.history and [row['epoch'] for row in rows] == [0, 1, 2]
    assert rows[0]['momentum'] == pytest.approx(0.8) and rows[0]['weight'] == pytest.approx(1.0)
    values = module.training_module.tester.values()
    assert {name: rows[2][name] for name in values} == values
    assert len({row['momentum'] for row in rows}) == 3
    for column in ('inception_score', 'fid', 'reference_error', 'auxiliary_error', 'auxiliary_real_error'):
        assert all(column in row for row in rows)


def test_tensorboard_has_the_same(watched: tuple[RunDirectory, Recorder, Any]) -> None:
    """All columns of all epochs, and the grids."""
    folder, recorder, _ = watched
    assert read_events(folder.tensorboard) == (scalars_of(recorder.history), {'generated': [0, 1, 2]})


def test_a_tester_of_other_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the tester calls B is a column."""
    tester = FQGAN(2, image_size=16, width=4, latent=6, dictionary_size=5)
    tester.values = lambda: {'rotation': 0.25, 'contrast': 2.0}
    module = SimpleNamespace(training_module=SimpleNamespace(tester=tester))
    rows: list[dict[str, float]] = []
    monkeypatch.setattr(recorder, 'write_generated', lambda *_: None)
    run = SimpleNamespace(write_history=rows.extend)
    Recorder(run).on_train_start(None, module)
    assert rows == [{'epoch': 0, 'rotation': 0.25, 'contrast': 2.0}]


@pytest.mark.parametrize('learns', [True, False])
def test_an_auxiliary_model_that_does_not_learn_is_not_measured(
    learns: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in searches whose objective asks none, where it stays untrained."""
    tester = FQGAN(2, image_size=16, width=4, latent=6, dictionary_size=5)
    networks = SimpleNamespace(tester=tester, auxiliary='V')
    module = SimpleNamespace(training_module=networks, objective=SimpleNamespace(needs_auxiliary=learns))
    asked: list[Any] = []
    judge = SimpleNamespace(real=None, measures=lambda images, labels, auxiliary: asked.append(auxiliary) or {})
    monkeypatch.setattr(recorder, 'write_generated', lambda *_: None)
    run = SimpleNamespace(write_history=lambda rows: None)
    Recorder(run, judge).on_train_start(None, module)
    assert asked == ['V' if learns else None]
