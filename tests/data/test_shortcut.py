"""Cues: what they show, whom they agree with, and that the view made for each cannot see it."""

import pytest
import torch

from nni_wcnas.data import DataError, Digits, FileStore, ImageFolder
from nni_wcnas.data.shortcut import CUES, GROUPS, ShortcutStore, groups
from nni_wcnas.spaces.views import VIEWS

BLIND = {'colour': 'luminance', 'dot': 'cropped', 'brightness': 'normalised', 'noise': 'blurred'}


def every_cue(data):
    """The first images with each cue in turn, normalised; shape (cue, image, channel, row, column)."""
    store = data.images.train
    made = [
        ShortcutStore(store.inner, store.shortcut, torch.full_like(store.cues, k), store.classes)
        for k in range(store.classes)
    ]
    return torch.stack([data.normalise(store.read(torch.arange(40)).float() / 255) for store in made])


@pytest.mark.parametrize('cue', CUES)
class TestCue:
    def test_agrees_as_often_as_asked_in_training_and_by_chance_in_the_test_set(self, cue):
        data = Digits(shortcut=cue, strength=0.8)
        train, test = data.images.train, data.images.test
        assert (train.cues == train.labels).float().mean() == pytest.approx(0.8, abs=0.03)
        assert (test.cues == test.labels).float().mean() == pytest.approx(0.1, abs=0.04)
        assert groups(data.images).equal((test.cues != test.labels).long())
        wrong = train.cues[train.cues != train.labels]
        assert wrong.bincount(minlength=10).min() > 0, 'any other class'

    @pytest.mark.parametrize('strength', [0.0, 1.0])
    def test_never_and_always(self, cue, strength):
        train = Digits(shortcut=cue, strength=strength).images.train
        assert (train.cues == train.labels).float().mean() == strength

    def test_one_view_alone_cannot_see_it(self, cue):
        """How far pixels differ between cues, as a share of how far they differ at all."""
        images = every_cue(Digits(shortcut=cue))
        seen = {name: view()(images.flatten(0, 1)).view_as(images) for name, view in VIEWS.items()}
        spread = {name: (pixels.std(0).square().mean().sqrt() / pixels.std()).item() for name, pixels in seen.items()}
        assert spread.pop(BLIND[cue]) < 0.01, 'rounding to bytes'
        assert min(spread.values()) > 0.05

    def test_classes_have_different_cues(self, cue):
        first = every_cue(Digits(shortcut=cue))[:, 0].flatten(1)
        assert torch.pdist(first).min() > 0.5

    def test_no_pixel_is_clamped(self, cue):
        """Clamped pixels would show a cue where it cannot be seen otherwise."""
        store = Digits(shortcut=cue).images.train
        pixels = store.inner.read(torch.arange(200)).float() / 255
        for k in range(10):
            marked = CUES[cue](pixels, torch.full((200,), k), 10)
            assert marked.min() >= 0 and marked.max() <= 1 + 1e-6

    def test_is_the_same_for_all_seeds_and_in_every_read(self, cue):
        one, two = Digits(shortcut=cue, seed=1), Digits(shortcut=cue, seed=2, batch_size=7)
        assert one.images.train.fingerprint() == two.images.train.fingerprint()
        rows = torch.tensor([5, 900, 3])
        assert one.images.train.read(rows).equal(two.images.train.read(torch.arange(1433))[rows])

    def test_normalises_all_channels_alike(self, cue):
        data = Digits(shortcut=cue)
        pixels = data.images.train.read(torch.arange(1433)).float() / 255
        assert data.mean == (pytest.approx(pixels.mean().item(), abs=1e-5),) * 3
        assert data.std == (pytest.approx(pixels.std().item(), abs=1e-5),) * 3


def test_images_are_told_apart_by_cue_strength_and_images():
    made = [Digits(), Digits(shortcut='colour'), Digits(shortcut='dot'), Digits(shortcut='colour', strength=0.5)]
    assert len({data.images.train.fingerprint() for data in made}) == 4
    assert [data.name for data in made] == ['digits', 'digits-colour', 'digits-dot', 'digits-colour']
    assert made[1].images.test.fingerprint() == made[3].images.test.fingerprint(), 'strength is of training images'


def test_without_a_shortcut_there_are_no_groups():
    assert groups(Digits().images) is None
    assert len(GROUPS) == 2


@pytest.mark.parametrize('cue', CUES)
def test_files_and_whole_images_carry_it_too(tmp_path, cue):
    from PIL import Image

    for part in ('train', 'test'):
        for name in 'ab':
            folder = tmp_path / part / name
            folder.mkdir(parents=True)
            for number in range(6):
                Image.new('RGB', (40, 20), (100, 150, 200)).save(folder / f'{number}.png')
    data = ImageFolder(tmp_path, image_size=16, shortcut=cue, strength=1.0, batch_size=4)
    store = data.images.train
    assert isinstance(store.inner, FileStore)
    pixels = store.read(torch.tensor([0, 11])).float()
    assert (pixels[0] - pixels[1]).abs().max() > 20, 'one of each class'
    for index in (0, 11):  # Wider than high: a cue on the whole of a file would lie outside what is read.
        assert torch.equal(store.fit(store.open(index)), store.read(torch.tensor([index]))[0])
    assert data.train_dataloader().dataset[next(iter(data._samplers['weights']))].images.shape == (4, 3, 16, 16)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'shortcut': 'hue'}, "shortcut='hue' is unknown; use colour, dot, brightness, noise"),
        ({'shortcut': 'dot', 'strength': 1.5}, 'strength=1.5 must be a share from 0 to 1'),
        ({'shortcut': 'dot', 'strength': float('nan')}, 'strength=nan must be a share from 0 to 1'),
        ({'strength': 0.5}, 'strength=0.5 is that of a shortcut, and there is none; give one, or leave strength out'),
    ],
)
def test_refused(options, message):
    with pytest.raises(DataError, match=message.replace('(', r'\(')):
        Digits(**options)
