from __future__ import annotations

import copy

import pytest
import torch
from small import changed, epoch, small_tester, snapshot

from nni_wcnas.errors import DivergedError
from nni_wcnas.tester import FQGAN, TiedAuxiliary, make_auxiliary, pretrain
from nni_wcnas.tester.batch_stream import BatchStream
from nni_wcnas.tester.pretraining_lengths import lengths


def _pair() -> tuple[FQGAN, TiedAuxiliary]:
    tester = small_tester(ema_decay=0.5, ema_start=2)
    return tester, TiedAuxiliary(tester, 7)


def _run(steps: int, *, tester=None, auxiliary=None, seed: int = 5, **options):
    if tester is None:
        tester, auxiliary = _pair()
    torch.manual_seed(seed)
    options = {'discriminator_steps': 2, 'auxiliary_steps': 3, 'progress': False, **options}
    losses = pretrain(tester, auxiliary, epoch, steps, **options)
    return tester, auxiliary, losses


def _interrupt(monkeypatch, path, after: int) -> None:
    """Run until the process dies some steps after the last checkpoint."""
    calls = []

    def dies(self, count, optimizer, _original=FQGAN.train_generator, **options):
        calls.append(count)
        if len(calls) > after:
            raise KeyboardInterrupt
        return _original(self, count, optimizer, **options)

    with monkeypatch.context() as patch:
        patch.setattr(FQGAN, 'train_generator', dies)
        with pytest.raises(KeyboardInterrupt):
            _run(6, checkpoint=path, checkpoint_every=2)


@pytest.mark.parametrize('after', [2, 3, 5])
def test_resumed_equals_uninterrupted(tmp_path, monkeypatch, after):
    tester, auxiliary, losses = _run(6)
    path = tmp_path / 'run.pt'
    _interrupt(monkeypatch, path, after)
    # Another seed: all randomness comes from the file.
    resumed, resumed_auxiliary, resumed_losses = _run(6, checkpoint=path, checkpoint_every=2, resume=True, seed=77)
    assert resumed_losses == losses
    assert not changed(resumed, snapshot(tester))
    assert not changed(resumed_auxiliary, snapshot(auxiliary))
    assert torch.equal(torch.load(path, weights_only=True)['training']['random']['cpu'], torch.get_rng_state())


def test_resume_within_the_auxiliary_phase(tmp_path):
    path = tmp_path / 'run.pt'
    _, auxiliary, _ = _run(2, auxiliary_steps=4)
    _run(2, auxiliary_steps=2, checkpoint=path)
    _, resumed, _ = _run(2, auxiliary_steps=4, checkpoint=path, resume=True, seed=77)
    assert not changed(resumed, snapshot(auxiliary))


def test_more_steps_train_the_generator_further(tmp_path):
    path = tmp_path / 'run.pt'
    _run(2, checkpoint=path)
    longer, _, _ = _run(4, checkpoint=path, resume=True, seed=77)
    stored = torch.load(path, weights_only=True)['training']
    assert stored['played'] == 4
    shorter, _, _ = _run(2)
    assert changed(longer.generator, snapshot(shorter.generator))


def test_a_checkpoint_changes_nothing_and_is_a_pretrained_file(tmp_path):
    path = tmp_path / 'run.pt'
    plain, _, _ = _run(3)
    tester, auxiliary, losses = _run(3, checkpoint=path, checkpoint_every=1)
    assert not changed(tester, snapshot(plain))
    assert set(losses) == {'discriminator', 'quantisation', 'generator', 'auxiliary'}
    loaded = small_tester(pretrained=path)
    assert not changed(make_auxiliary('tied', loaded), snapshot(auxiliary))
    noise = loaded.noise(2)
    assert torch.equal(loaded.average(*noise), tester.average(*noise))


def test_uses_its_own_adam_and_counts_steps(tmp_path):
    path = tmp_path / 'run.pt'
    _run(3, checkpoint=path, lr=5e-4)
    training = torch.load(path, weights_only=True)['training']
    assert training['played'] + training['taught'] == 6
    assert training['stream']['epoch'] == 2  # 3 * 2 + 3 batches, 3 an epoch.
    for name, count in (('generator', 3), ('discriminator', 6)):
        state = training['optimizers'][name]
        assert state['param_groups'][0]['lr'] == 5e-4
        assert tuple(state['param_groups'][0]['betas']) == (0.0, 0.999)
        assert state['state'][0]['step'] == count


def test_without_an_auxiliary_model_or_its_steps(tmp_path):
    tester, auxiliary = _pair()
    before = snapshot(auxiliary)
    _run(1, tester=tester, auxiliary=auxiliary, auxiliary_steps=0)
    assert not changed(auxiliary, before)
    losses = pretrain(tester, None, epoch, 1, progress=False, checkpoint=tmp_path / 'run.pt')
    assert 'auxiliary' not in losses
    with pytest.raises(ValueError, match='without an auxiliary'):
        pretrain(tester, auxiliary, epoch, 1, progress=False, checkpoint=tmp_path / 'run.pt', resume=True)


def test_b_does_not_move():
    tester, _, _ = _run(2)
    assert tester.values() == pytest.approx({'momentum': 0.8, 'weight': 1.0})


def test_refusals(tmp_path):
    path = tmp_path / 'run.pt'
    with pytest.raises(ValueError, match='nothing to train; give at least 1 of steps'):
        _run(0, auxiliary_steps=0)
    with pytest.raises(ValueError, match='steps must be 0 or more, not -1'):
        _run(-1)
    with pytest.raises(ValueError, match='steps=2 and epochs=1 are two lengths; give one of them'):
        _run(2, epochs=1)
    with pytest.raises(ValueError, match='discriminator_steps must be at least 1'):
        _run(1, discriminator_steps=0)
    with pytest.raises(ValueError, match='checkpoint_every must be at least 1'):
        _run(1, checkpoint_every=0)
    with pytest.raises(ValueError, match='nothing to resume'):
        _run(1, resume=True)
    _run(1, checkpoint=path)
    with pytest.raises(ValueError, match=r'lr=0\.0002.*lr=0\.001'):
        _run(2, checkpoint=path, resume=True, lr=1e-3)
    with pytest.raises(ValueError, match='discriminator_steps=2'):
        _run(2, checkpoint=path, resume=True, discriminator_steps=3)
    with pytest.raises(ValueError, match='width=4'):
        _run(2, tester=small_tester(width=8), checkpoint=path, resume=True)
    tester = small_tester(ema_decay=0.5, ema_start=2)
    for auxiliary, message in ((TiedAuxiliary(tester, 9), 'holds another auxiliary model'),
                               (TiedAuxiliary(tester, 7, lr=0.1), r'auxiliary_lr=0\.025, but auxiliary_lr=0\.1')):
        with pytest.raises(ValueError, match=message):
            _run(2, tester=tester, auxiliary=auxiliary, checkpoint=path, resume=True)
    small_tester().save(path)
    with pytest.raises(ValueError, match='cannot be resumed'):
        _run(1, checkpoint=path, resume=True)


def test_epochs_are_passes_over_the_batches(tmp_path):
    """Of three batches each: a generator step takes two, a step of the auxiliary model one."""
    path = tmp_path / 'run.pt'
    by_epochs, auxiliary, _ = _run(None, epochs=2, auxiliary_steps=None, auxiliary_epochs=1, checkpoint=path)
    training = torch.load(path, weights_only=True)['training']
    assert (training['played'], training['taught']) == (3, 3)
    by_steps, other, _ = _run(3)
    assert not changed(by_epochs, snapshot(by_steps)) and not changed(auxiliary, snapshot(other))


@pytest.mark.parametrize(('given', 'expected'), [
    ({}, (1000, 1000)), ({'steps': 7}, (7, 7)), ({'steps': 1200}, (1200, 1200)), ({'epochs': 2}, (5, 5)),
    ({'steps': 0}, (0, 1000)), ({'steps': 7, 'auxiliary_steps': 0}, (7, 0)), ({'auxiliary_epochs': 3}, (1000, 30)),
])
def test_lengths(given, expected):
    names = ('steps', 'epochs', 'auxiliary_steps', 'auxiliary_epochs')
    numbers = {'batches_of_a_step': 4, 'batches_of_an_epoch': lambda: 10, **dict.fromkeys(names), **given}
    assert lengths(True, True, **numbers) == expected
    assert lengths(True, False, **{**numbers, 'steps': 3, 'epochs': None}) == (3, 0)


@pytest.mark.parametrize(('given', 'expected'), [
    ({}, 1000), ({'steps': 7}, 7), ({'epochs': 2}, 20), ({'steps': 7, 'auxiliary_steps': 3}, 3),
    ({'steps': 7, 'auxiliary_epochs': 1}, 10),
])
def test_lengths_beside_no_generator_are_the_auxiliary_models(given, expected):
    """A step of which takes one batch."""
    names = ('steps', 'epochs', 'auxiliary_steps', 'auxiliary_epochs')
    numbers = {'batches_of_a_step': 4, 'batches_of_an_epoch': lambda: 10, **dict.fromkeys(names), **given}
    assert lengths(False, True, **numbers) == (0, expected)


def test_the_auxiliary_model_alone(tmp_path):
    """Beside a generator that stays as it is."""
    tester, auxiliary = _pair()
    before, own = snapshot(tester), snapshot(auxiliary)
    _run(0, tester=tester, auxiliary=auxiliary)
    assert not changed(tester, before) and not tester.is_trained
    assert changed(auxiliary, own) == set(own)


def test_seconds_add_up_over_resumes(tmp_path):
    path = tmp_path / 'run.pt'
    _run(2, auxiliary_steps=1, checkpoint=path)
    first = torch.load(path, weights_only=True)['seconds']
    _run(3, auxiliary_steps=1, checkpoint=path, resume=True)
    second = torch.load(path, weights_only=True)['seconds']
    assert second['generator'] > first['generator'] > 0 and second['auxiliary'] == first['auxiliary'] > 0
    _run(3, auxiliary_steps=1, checkpoint=path, resume=True)
    assert torch.load(path, weights_only=True)['seconds'] == second


def test_a_trained_generator_is_known_as_one(tmp_path):
    tester, _, _ = _run(1, checkpoint=tmp_path / 'run.pt')
    assert tester.is_trained and copy.deepcopy(tester).is_trained and not small_tester().is_trained
    assert small_tester(pretrained=tmp_path / 'run.pt').is_trained
    resumed, _, _ = _run(1, checkpoint=tmp_path / 'run.pt', resume=True)
    assert resumed.is_trained


def test_resume_without_a_file_begins(tmp_path):
    tester, _, _ = _run(2)
    other, _, _ = _run(2, checkpoint=tmp_path / 'run.pt', resume=True)
    assert not changed(other, snapshot(tester))


def test_progress_bar_shows_the_losses(capsys):
    _run(1, progress=True)
    shown = capsys.readouterr().err
    assert all(name in shown for name in ('pre-training', 'generator', 'discriminator', 'auxiliary'))


def test_an_empty_epoch_is_refused():
    with pytest.raises(ValueError, match='no batches'):
        next(BatchStream(lambda number: []))


def test_stream_continues_in_the_middle_of_an_epoch():
    stream = BatchStream(epoch)
    for _ in range(4):
        next(stream)
    state = stream.state()
    expected = [next(stream).clean for _ in range(2)]
    torch.manual_seed(99)
    other = BatchStream(epoch)
    other.restore(state)
    assert all(torch.equal(next(other).clean, images) for images in expected)


def test_divergence_is_an_error():
    tester, auxiliary = _pair()
    with torch.no_grad():
        tester.generator.linear.weight.fill_(torch.nan)
    with pytest.raises(DivergedError, match='diverged: its discriminator loss is nan; lower lr'):
        _run(1, tester=tester, auxiliary=auxiliary)


def test_a_ruined_generator_is_an_error_though_losses_are_finite(tmp_path):
    """The file of a sound run stays."""
    path = tmp_path / 'run.pt'
    _run(1, checkpoint=path)
    written = path.read_bytes()
    with pytest.raises(DivergedError, match='diverged: every pixel of its images is saturated; lower lr'):
        _run(3, lr=1e9, checkpoint=path)
    assert path.read_bytes() == written
