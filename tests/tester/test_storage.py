from __future__ import annotations

import pytest
import torch
from small import SMALL, changed, epoch, small_tester, snapshot

from nni_wcnas.tester import FQGAN, TiedAuxiliary, make_auxiliary, pretrain


@pytest.fixture
def trained():
    tester = small_tester(ema_decay=0.5, ema_start=1, momentum=0.7, weight=2.0)
    pretrain(tester, None, epoch, 3, discriminator_steps=1, progress=False)
    return tester


def test_round_trip(trained, tmp_path):
    path = tmp_path / 'deep' / 'tester.pt'
    trained.save(path)
    loaded = small_tester(pretrained=path, momentum=0.6)
    state = snapshot(trained)
    prefix = 'average.module.'
    averages = {f'generator.{name[len(prefix):]}': value for name, value in state.items() if name.startswith(prefix)}
    names = changed(loaded, {**state, **averages})
    assert names == {'b1', 'b2'}
    assert changed(loaded, state) > names
    # B is the constructor's, not the file's.
    assert loaded.values() == pytest.approx({'momentum': 0.6, 'weight': 1.0})
    noise = loaded.noise(2)
    assert torch.equal(loaded.eval().generate(noise), trained.average(*noise))
    assert not list(path.parent.glob('*.partial'))


def test_the_file_is_plain_data_and_knows_how_it_was_made(trained, tmp_path):
    trained.save(tmp_path / 'tester.pt')
    contents = torch.load(tmp_path / 'tester.pt', weights_only=True)
    assert contents['format'] == 1
    assert contents['auxiliary'] is None
    again = FQGAN(**contents['settings'], pretrained=tmp_path / 'tester.pt')
    assert again.values() == pytest.approx(trained.values())
    assert again.settings() == trained.settings()


def test_a_failed_write_leaves_the_old_file(trained, tmp_path, monkeypatch):
    path = tmp_path / 'tester.pt'
    trained.save(path)
    old = path.read_bytes()

    def fail(contents, file):
        file.write(b'half')
        raise OSError('disk full')

    monkeypatch.setattr(torch, 'save', fail)
    with pytest.raises(OSError, match='disk full'):
        trained.save(path)
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(('name', 'here'), [('num_classes', 4), ('image_size', 32), ('width', 8), ('latent', 9),
                                            ('dictionary_size', 9), ('feed_quantized', True)])
def test_other_structure_is_refused(trained, tmp_path, name, here):
    trained.save(tmp_path / 'tester.pt')
    there = {'num_classes': 3, 'feed_quantized': False, **SMALL}
    with pytest.raises(ValueError, match=name) as error:
        FQGAN(**{**there, name: here}, pretrained=tmp_path / 'tester.pt')
    message = str(error.value)
    assert all(part in message for part in ('tester.pt', f'{name}={there[name]}', f'{name}={here}', 'pre-train'))
    assert message.count('. ') == 0


def test_damaged_and_foreign_files_are_refused(trained, tmp_path):
    path = tmp_path / 'tester.pt'
    trained.save(path)
    whole = path.read_bytes()
    for damaged in (b'', b'garbage', whole[:len(whole) // 2], whole[:-30]):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r'tester\.pt is damaged'):
            small_tester(pretrained=path)
    empty = {'format': 1, 'settings': trained.settings(), 'tester': {}, 'auxiliary': None}
    for foreign, message in (([1], 'no format version'), ({'format': 2}, 'format 2'),
                             ({'format': 1, 'settings': {}}, 'lacks tester'), (empty, 'whole state')):
        torch.save(foreign, path)
        with pytest.raises(ValueError, match=message):
            small_tester(pretrained=path)
    with pytest.raises(FileNotFoundError, match='There is no file .*; make it with `nni-wcnas pretrain`'):
        small_tester(pretrained=tmp_path / 'absent.pt')


def test_the_head_travels_with_the_file(trained, tmp_path):
    path = tmp_path / 'tester.pt'
    head = TiedAuxiliary(trained, 7)
    trained.save(path, head)
    loaded = make_auxiliary('tied', small_tester(pretrained=path))
    assert not changed(loaded, snapshot(head))
    with pytest.raises(ValueError, match='same hidden'):
        TiedAuxiliary(trained, 8, pretrained=path)
    trained.save(path)
    assert make_auxiliary('tied', small_tester(pretrained=path)).learnable()['head.1.weight'].shape == (128, 4)
    with pytest.raises(ValueError, match='holds no auxiliary'):
        TiedAuxiliary(trained, pretrained=path)


@pytest.mark.parametrize(('found', 'fits'), [(0.7 + 6e-8, True), (0.7001, False), (1, False)])
def test_hyper_parameters_that_were_rounded_elsewhere_are_the_same(trained, tmp_path, found, fits):
    """Those of a file that was written on a GPU, whose sigmoid rounds in another way."""
    path = tmp_path / 'tester.pt'
    pretrain(trained, None, epoch, 1, discriminator_steps=1, checkpoint=path, progress=False)
    contents = torch.load(path, weights_only=True)
    contents['settings']['momentum'] = found
    torch.save(contents, path)
    tester = small_tester(ema_decay=0.5, ema_start=1, momentum=0.7, weight=2.0)

    def resume():
        return pretrain(tester, None, epoch, 2, discriminator_steps=1, checkpoint=path, resume=True, progress=False)

    if fits:
        assert resume()
    else:
        with pytest.raises(ValueError, match=f'made with momentum={found}, but momentum=0.7 was'):
            resume()
