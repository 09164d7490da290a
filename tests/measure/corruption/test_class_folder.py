"""Folders named by WordNet id: ImageNet-C, -A, -R and -Sketch."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from nni_wcnas.data import DataError
from nni_wcnas.measure.corruption import (
    ImageNetC,
    corruption_errors,
    count_images,
    mean_corruption_error,
    variant_measures,
    wordnet_ids,
)

IDS = tuple(f'n{10000000 + 7 * place}' for place in range(1000))
PLAIN = {'mean': (0.0, 0.0, 0.0), 'std': (1.0, 1.0, 1.0)}


class Painted(nn.Module):
    """Reads the class off the colour, and prefers one class to all: the last logit."""

    def __init__(self, classes=1000, preferred=None):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.classes = classes
        self.preferred = preferred

    def forward(self, images):
        levels = (images[:, :2].mean((2, 3)) * 255).round()
        logits = -self.scale * (levels[:, :1] * 10 + levels[:, 1:] - torch.arange(self.classes)).abs()
        if self.preferred is not None:
            logits[:, self.preferred] = 1
        return logits


def paint(folder, ids, shown=lambda place: place, side=8):
    """One image a class, whose colour names a class."""
    for name in ids:
        place = shown(IDS.index(name))
        (folder / name).mkdir(parents=True)
        Image.new('RGB', (side, side), (place // 10, place % 10, 0)).save(folder / name / 'a.png')


@pytest.mark.parametrize('names, found', [
    (IDS[1:], '999 classes'), (IDS[::-1], '1000 classes'), ((*IDS[:-1], IDS[-2]), '1000 classes'),
    ((*IDS[:-1], 'n0144076'), "1000 classes, 'n0144076' among them"),
    (('frog', 'ship'), "2 classes, 'frog' among them"),
])
def test_other_classes_than_imagenets(names, found):
    assert wordnet_ids(list(IDS), 'images') == IDS
    with pytest.raises(DataError, match=f"images has {found}, and not ImageNet's 1000 in folders named by WordNet id"):
        wordnet_ids(names, 'images')


@pytest.mark.parametrize('variant', ['imagenet_a', 'imagenet_r'])
def test_only_the_classes_of_the_set_count(variant, tmp_path):
    """The network prefers class 1, which none of the 200 is; every tenth image is painted as another of the set."""
    members = IDS[::5]
    paint(tmp_path, members, lambda place: place + 5 if place % 50 == 0 else place)
    network = Painted(preferred=1)
    measures = variant_measures(network, variant, tmp_path, IDS, resize=8, image_size=8, **PLAIN)
    assert measures == {f'accuracy_{variant}': pytest.approx(0.9), f'error_{variant}': pytest.approx(0.1),
                        f'examples_{variant}': 200.0}
    inside = variant_measures(Painted(preferred=5), variant, tmp_path, IDS, resize=8, image_size=8, **PLAIN)
    assert inside[f'accuracy_{variant}'] == pytest.approx(1 / 200)


def test_sketch_has_all_classes(tmp_path, capsys):
    paint(tmp_path, IDS, lambda place: place if place < 700 else 0)
    options = {'resize': 8, 'image_size': 8, **PLAIN}
    measures = variant_measures(Painted(), 'imagenet_sketch', tmp_path, IDS, progress=True, **options)
    assert measures['accuracy_imagenet_sketch'] == pytest.approx(0.7)
    assert '1000/1000' in capsys.readouterr().err
    preferred = variant_measures(Painted(preferred=1), 'imagenet_sketch', tmp_path, IDS, batch_size=300, **options)
    assert preferred['accuracy_imagenet_sketch'] == pytest.approx(1 / 1000)


def test_the_centre_is_shown_and_normalised(tmp_path):
    """A grey frame that resizing keeps and cutting removes."""
    paint(tmp_path, IDS[:200], side=16)
    for path in tmp_path.rglob('*.png'):
        framed = Image.new('RGB', (20, 20), (200, 200, 200))
        framed.paste(Image.open(path).convert('RGB'), (2, 2))
        framed.save(path)

    def accuracy(**options):
        return variant_measures(Painted(), 'imagenet_a', tmp_path, IDS, **options)['accuracy_imagenet_a']

    assert accuracy(resize=20, image_size=14, **PLAIN) == 1
    assert accuracy(resize=20, image_size=20, **PLAIN) < 0.1
    assert accuracy(resize=20, image_size=14) < 0.1  # ImageNet's statistics.


def test_bad_variants(tmp_path):
    with pytest.raises(ValueError, match="no variant 'imagenet_v2'; use one of imagenet_a, imagenet_r"):
        variant_measures(Painted(), 'imagenet_v2', tmp_path, IDS)
    with pytest.raises(DataError, match='There is no folder .*nowhere'):
        variant_measures(Painted(), 'imagenet_a', tmp_path / 'nowhere', IDS)
    paint(tmp_path, IDS[:199])
    for refuses in (lambda: variant_measures(Painted(), 'imagenet_a', tmp_path, IDS),
                    lambda: count_images('imagenet_r', tmp_path, IDS)):
        with pytest.raises(DataError, match='holds 199 class folders, but the set has 200; unpack'):
            refuses()
    (tmp_path / 'goldfish').mkdir()
    with pytest.raises(DataError, match="goldfish is named after none of ImageNet's 1000 WordNet ids; rename"):
        variant_measures(Painted(), 'imagenet_a', tmp_path, IDS)
    (tmp_path / 'goldfish').rename(tmp_path / IDS[300])
    with pytest.raises(DataError, match=f'{IDS[300]} holds no images'):
        variant_measures(Painted(), 'imagenet_a', tmp_path, IDS)
    (tmp_path / IDS[300] / 'b.JPEG').write_bytes(b'nonsense')
    with pytest.raises(DataError, match=r'b\.JPEG cannot be read'):
        variant_measures(Painted(), 'imagenet_a', tmp_path, IDS, resize=8, image_size=8)
    with pytest.raises(DataError, match='image_size=9 must lie between 1 and resize=8'):
        variant_measures(Painted(), 'imagenet_a', tmp_path, IDS, resize=8, image_size=9)
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / IDS[300] / 'b.JPEG')
    with pytest.raises(ValueError, match='The network has 10 classes, but ImageNet 1000'):
        variant_measures(Painted(10), 'imagenet_a', tmp_path, IDS, resize=8, image_size=8)


def test_imagenet_c(tmp_path):
    ids = IDS[:5]
    for severity in range(1, 6):
        paint(tmp_path / 'fog' / str(severity), ids, lambda place, wrong=severity: 0 if place < wrong else place)
    images = ImageNetC(tmp_path, ids, image_size=8, batch_size=2, **PLAIN)
    errors = corruption_errors(Painted(5), images, names=('fog',))
    assert errors['fog'] == {severity: pytest.approx((severity - 1) / 5) for severity in range(1, 6)}
    assert errors.scale == 'imagenet'
    assert mean_corruption_error(errors, {'fog': 0.8}) == pytest.approx(0.4 / 0.8)


def test_bad_imagenet_c(tmp_path):
    with pytest.raises(DataError, match='There is no folder .*nowhere; give the one'):
        ImageNetC(tmp_path / 'nowhere', IDS)
    images = ImageNetC(tmp_path, IDS[:5])
    with pytest.raises(DataError, match='There is no folder .*2; give'):
        paint(tmp_path / 'fog' / '1', IDS[:5])
        corruption_errors(Painted(5), images, names=('fog',), severities=(1, 2))
    with pytest.raises(DataError, match='holds 4 class folders, but the set has 5'):
        paint(tmp_path / 'fog' / '2', IDS[:4])
        images.check(('fog',), (1, 2))
    with pytest.raises(ValueError, match="no corruption 'noise'"):
        images.check(('noise',), (1,))
