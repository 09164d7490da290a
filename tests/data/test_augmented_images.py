"""What changes training images one by one: crops of random size, colours and timm's policies, on a folder of digits."""

import random

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from sklearn.datasets import load_digits
from torchvision.transforms import v2

from nni_wcnas.data import DataError, Digits, ImageData, ImageFolder
from nni_wcnas.data.augmentation import Augmentation
from nni_wcnas.data.policy import named_policy
from nni_wcnas.data.seeding import seeded_globals
from nni_wcnas.retrain.recipe import named_recipe

CHANGES = [
    {'crop': 'resized'},
    {'color_jitter': 0.4},
    {'color_jitter': (0.0, 0.0, 0.0, 0.5)},
    {'auto_augment': 'rand-m9-mstd0.5'},
    {'auto_augment': 'augmix-m5-w2'},
    {'auto_augment': 'original-mstd0.5'},
    {'crop': 'resized', 'color_jitter': 0.4, 'auto_augment': 'v0'},
]


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """48 digits as coloured images of 40 x 30 pixels, in ImageNet's layout."""
    root = tmp_path_factory.mktemp('digits')
    digits = load_digits(n_class=3)
    for number, (pixels, label) in enumerate(zip(digits.images[:48], digits.target)):
        path = root / ('val' if number % 4 == 0 else 'train') / f'n0{label}' / f'{number}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        grey = Image.fromarray((pixels * 15).astype(np.uint8)).resize((40, 30))
        ImageOps.colorize(grey, (20, 90, 60), (250, 120, 30)).save(path)
    return root


def loaded(folder, **options):
    return ImageFolder(folder, image_size=16, batch_size=12, **options)


def epoch(data, number=0):
    data.set_epoch(number)
    return list(data.full_train_dataloader())


def equal(left, right):
    return all(a.equal(b) for x, y in zip(left, right, strict=True) for a, b in zip(x, y, strict=True))


@pytest.mark.parametrize('change', CHANGES, ids=str)
def test_training_images_change_and_nothing_else(folder, change):
    plain, data = loaded(folder), loaded(folder, **change)
    before, after = epoch(plain), epoch(data)
    for old, new in zip(before, after, strict=True):
        assert not new.images.equal(old.images) and new.images.shape == old.images.shape
        assert new.labels.equal(old.labels) and new.indices.equal(old.indices) and new.clean.equal(old.clean)
    assert equal(plain.test_dataloader(), data.test_dataloader())
    assert equal(plain.evaluation_dataloader('train'), data.evaluation_dataloader('train'))


def test_batches_depend_on_seed_and_epoch_only(folder):
    change = {'crop': 'resized', 'color_jitter': 0.4, 'auto_augment': 'rand-m9-mstd0.5'}
    first = epoch(loaded(folder, **change))
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    assert equal(epoch(loaded(folder, **change)), first)
    assert states[:2] == (random.getstate(), np.random.get_state()[1].tolist()) and states[2].equal(
        torch.get_rng_state())
    assert equal(epoch(loaded(folder, num_workers=2, **change)), first)
    assert not equal(epoch(loaded(folder, seed=1, **change)), first)
    data = loaded(folder, **change)
    later = {int(i): image for b in epoch(data, 1) for i, image in zip(b.indices, b.images)}
    assert not any(later[int(i)].equal(image) for b in first for i, image in zip(b.indices, b.images))


def test_each_image_and_each_batch_has_a_seed_of_its_own():
    image = v2.functional.to_pil_image(torch.arange(3 * 64 * 64).reshape(3, 64, 64).remainder(256).byte())
    crops = [Augmentation(resized=True).part(image, 16, seed, number) for seed in range(2) for number in range(4)]
    assert len(torch.stack(crops).flatten(1).unique(dim=0)) == 8
    batch = torch.stack([v2.functional.pil_to_tensor(image)] * 4)
    policy = named_policy('rand-m9-p1', 64, (0.5, 0.5, 0.5))
    for augmentation in (Augmentation(color_jitter=(0.4, 0.4, 0.4)), Augmentation(policy=policy)):
        changed = torch.cat([augmentation.pixels(batch, seed) for seed in range(2)])
        assert len(changed.flatten(1).unique(dim=0)) == 8


@pytest.mark.parametrize('size', [(90, 60), (40, 200)])
def test_the_random_part_is_torchvisions(size):
    """Of the image at its own size: the same box, cut out and resized by torchvision on bytes, but for rounding."""
    pixels = v2.functional.resize(torch.rand(3, 12, 12, generator=torch.Generator().manual_seed(0)), list(size))
    pixels = pixels.mul(255).byte()
    image = v2.functional.to_pil_image(pixels)
    sides = []
    for number in range(20):
        found = Augmentation(resized=True).part(image, 32, 5, number)
        with seeded_globals(5, 'resized crop', number):
            box = v2.RandomResizedCrop(32).make_params([pixels])
        expected = v2.functional.resized_crop(pixels, **box, size=[32, 32])
        assert (found.int() - expected.int()).abs().max() <= 2
        sides.append((box['height'], box['width']))
    areas = [height * width / (size[0] * size[1]) for height, width in sides]
    assert len(set(sides)) > 10 and min(areas) < 0.4


def test_crops_see_what_the_centre_does_not(tmp_path):
    """A wide image whose sides, red, are cut off by the centre crop."""
    pixels = np.zeros((32, 128, 3), np.uint8)
    pixels[:, :32, 0] = pixels[:, 96:, 0] = 255
    for name in ('ab', 'cd'):
        (tmp_path / name).mkdir()
        for number in range(10):
            Image.fromarray(pixels).save(tmp_path / name / f'{number}.png')
    options = {'image_size': 16, 'mean': (0, 0, 0), 'std': (1, 1, 1)}
    red = {crop: max(b.images[:, 0].max() for b in epoch(ImageFolder(tmp_path, crop=crop, **options)))
           for crop in ('padded', 'resized')}
    assert red == {'padded': 0, 'resized': 1}


def test_switched_off_by_augment(folder):
    plain, data = (loaded(folder, crop=crop, augment=False) for crop in ('padded', 'resized'))
    assert equal(epoch(plain), epoch(data))


def test_each_operation_has_a_stream_of_its_own(folder):
    """Colours leave crops and flips where they were: grey images, whose saturation and hue say nothing."""
    plain, jittered = (Digits(crop='resized', color_jitter=jitter) for jitter in (0.0, (0.0, 0.0, 0.9, 0.5)))
    for old, new in zip(epoch(plain), epoch(jittered), strict=True):
        assert torch.allclose(old.images, new.images, atol=0.03)


def test_colours_are_torchvisions(folder):
    image = torch.randint(256, (1, 3, 16, 16), dtype=torch.uint8)
    found = Augmentation(color_jitter=(0.4, 0.3, 0.2, 0.1)).pixels(image, 3)
    with seeded_globals(3, 'colour jitter', 0):
        expected = v2.ColorJitter(0.4, 0.3, 0.2, 0.1)(v2.functional.to_pil_image(image[0]))
    assert found[0].equal(v2.functional.pil_to_tensor(expected))
    assert loaded(folder, color_jitter=0.4).augmentation.color_jitter == (0.4, 0.4, 0.4)


def test_policies_are_timms():
    from timm.data.auto_augment import rand_augment_transform

    image = v2.functional.to_pil_image(torch.randint(256, (3, 32, 32), dtype=torch.uint8))
    ours = named_policy('rand-m7-n3', 32, (0.2, 0.4, 0.6))
    theirs = rand_augment_transform('rand-m7-n3', {'translate_const': 14, 'img_mean': (51, 102, 153)})
    for number in range(10):
        results = []
        for policy in (ours, theirs):
            with seeded_globals(number):
                results.append(policy(image).tobytes())
        assert results[0] == results[1]


@pytest.mark.parametrize('name', ['v0', 'rand-m1-n8-p1', 'rand-t3aw', 'augmix-m1-w3', '3a', 'originalr'])
def test_policies_never_fail(name):
    """With few bits kept too: a magnitude of 1 keeps none of them, which Pillow refuses."""
    image = v2.functional.to_pil_image(torch.full((3, 16, 16), 200, dtype=torch.uint8))
    policy = named_policy(name, 16, (0.5, 0.5, 0.5))
    for number in range(150):
        with seeded_globals(number):
            assert policy(image).size == (16, 16)


def test_no_bits_are_black():
    operation = next(op for op in named_policy('rand-m1-p1', 16, (0, 0, 0)).ops if op.name == 'Posterize')
    assert operation(Image.new('RGB', (4, 4), (255, 200, 9))).getextrema() == ((0, 0),) * 3
    operation.magnitude = 5
    assert operation(Image.new('RGB', (1, 1), (255, 200, 9))).getpixel((0, 0)) == (192, 192, 0)


@pytest.mark.parametrize('name', [
    '', 'nothing', 'rand-m9-x5', 'rand-', 'rand-m', 'rand-mstdinf', 'rand-m9.5', 'rand-tnone', 'rand-n99-tweights',
    'v0-m9', 'v0-tweights', 'augmix-a0', 'random-m9'])
def test_a_name_that_timm_has_not(name):
    with pytest.raises(DataError, match=rf"^auto_augment='{name}' is not one of timm's policies( \(.*\))?; write it "):
        Digits(auto_augment=name)


@pytest.mark.parametrize(('options', 'message'), [
    ({'crop': 'random'}, "crop='random' is unknown; use 'padded' or 'resized'"),
    ({'color_jitter': -0.1}, r'color_jitter=-0.1 must be one number, three or four .*; use 0 for none'),
    ({'color_jitter': (0.4, 0.4)}, r'color_jitter=\(0.4, 0.4\) must be one number, three or four'),
    ({'color_jitter': (0.4, 0.4, 0.4, 0.6)}, 'the hue at most 0.5'),
    ({'color_jitter': float('nan')}, 'color_jitter=nan must be'),
    ({'color_jitter': 0.4, 'device': 'meta'}, 'change images on the CPU, not on meta; leave device or them out'),
    ({'crop': 'resized', 'device': 'meta'}, 'change images on the CPU'),
    ({'auto_augment': 'v0', 'device': 'meta'}, 'change images on the CPU'),
])
def test_what_cannot_be(options, message):
    with pytest.raises(DataError, match=message):
        Digits(**options)


def test_imagenets_images(tmp_path):
    """The recipe's arguments: 224 of 256 pixels in the test, as torchvision's transforms give them."""
    pixels = np.random.default_rng(0).integers(256, size=(10, 12, 3), dtype=np.uint8)
    for part in ('train', 'val'):
        for name in ('n01', 'n02'):
            (tmp_path / part / name).mkdir(parents=True)
            for number in range(2):
                path = tmp_path / part / name / f'{number}.png'
                Image.fromarray(pixels).resize((400, 300)).save(path)
    data = ImageFolder(tmp_path, **named_recipe('imagenet').data)
    assert data.augmentation == Augmentation(flip=True, resized=True, color_jitter=(0.4, 0.4, 0.4, 0.2))
    standard = v2.Compose([v2.Resize(256), v2.CenterCrop(224), v2.PILToTensor()])
    expected = standard(Image.open(path))
    assert data.images.test.read(torch.tensor([3]))[0].equal(expected)
    batch = next(iter(data.full_train_dataloader()))
    assert batch.images.shape == batch.clean.shape == (4, 3, 224, 224)
    assert batch.clean[0].equal(expected.float() / 127.5 - 1)


def test_arguments_that_imagenet_shares_fit_data_in_memory():
    data = ImageData(Digits().images, crop='resized', batch_size=8)
    assert epoch(data)[0].images.shape == (8, 3, 16, 16)
