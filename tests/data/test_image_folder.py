"""Folders of images, written by the tests."""

import math

import numpy as np
import pytest
import torch
from photographs import write_photographs
from PIL import Image
from torchvision.transforms.v2.functional import to_pil_image

from nni_wcnas.data import DataError, ImageFolder
from nni_wcnas.data.store import decode


def write(folder, count, colour, size=(20, 12), mode='RGB'):
    folder.mkdir(parents=True)
    for number in range(count):
        pixels = np.full((*size, 3), colour, dtype=np.uint8)
        pixels[0, 0] = number
        Image.fromarray(pixels).convert(mode).save(folder / f'{number}.png')


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / 'blue', 10, (0, 0, 200))
    write(tmp_path / 'red', 10, (200, 0, 0))
    return tmp_path


def test_about_a_fifth_is_held_out_by_name(folder):
    data = ImageFolder(folder)
    assert data.class_names == ('blue', 'red') and data.image_size == 32 and data.name == folder.name
    train, test = data.images.train, data.images.test
    # SHA-256 of 'blue/1.png' and so on, below a fifth of its range.
    assert {path.relative_to(folder).as_posix() for path in test.paths} == {
        'blue/1.png', 'blue/4.png', 'blue/9.png', 'red/7.png', 'red/9.png',
    }
    assert not set(train.paths) & set(test.paths) and len(set(train.paths) | set(test.paths)) == 20
    for indices in (data.weight_indices, data.architecture_indices):
        assert min(train.labels[indices].bincount().tolist()) >= 3
    assert ImageFolder(str(folder)).images.train.paths == train.paths


def test_no_image_changes_sides_because_of_another(folder):
    before = ImageFolder(folder).images
    for path in (before.train.paths[0], before.test.paths[0]):
        path.unlink()
    Image.new('RGB', (8, 8)).save(folder / 'blue' / 'new.png')
    after = ImageFolder(folder).images
    assert set(after.test.paths) - {folder / 'blue' / 'new.png'} == set(before.test.paths[1:])
    assert not set(after.train.paths) & set(before.test.paths)


def test_a_small_class_gives_the_image_that_hashes_lowest(folder):
    before = ImageFolder(folder).images
    for number in (7, 9):
        (folder / 'red' / f'{number}.png').unlink()
    images = ImageFolder(folder).images
    red = [path for path in images.test.paths if path.parent.name == 'red']
    assert len(red) == 1 and len(images.train.paths) + len(images.test.paths) == 18
    # The lowest of those that are left is the first of the class's training images before.
    assert red == [path for path in before.train.paths if path.parent.name == 'red'][:1]


def test_a_class_of_one_image_is_refused(folder):
    for number in range(1, 10):
        (folder / 'red' / f'{number}.png').unlink()
    assert refused(folder).startswith(f'The class folder {folder / "red"} has 1 image, which cannot be divided')


def test_the_share_of_photographs(tmp_path):
    images = ImageFolder(write_photographs(tmp_path)).images
    assert 0.15 < len(images.test) / 96 < 0.25 and images.test.labels.bincount().min() >= 2


def test_official_parts(folder, tmp_path_factory):
    root = tmp_path_factory.mktemp('official')
    (folder / 'blue').rename(root / 'blue')
    (folder / 'red').rename(root / 'red')
    (root / 'train').mkdir()
    for name in ('blue', 'red'):
        (root / name).rename(root / 'train' / name)
        write(root / 'test' / name, 2, (9, 9, 9))
    (root / 'train' / 'red' / 'notes.txt').write_text('not an image')
    data = ImageFolder(root)
    assert data.images.train.labels.bincount().tolist() == [10, 10] and data.images.test.labels.bincount().tolist() == [
        2,
        2,
    ]
    assert all('test' in path.parts for path in data.images.test.paths)


@pytest.mark.parametrize('unlabelled', [False, True])
def test_val_in_the_place_of_test(tmp_path, unlabelled):
    """ImageNet's layout, with or without its test images, which have no classes."""
    for name in ('n01', 'n02'):
        write(tmp_path / 'train' / name, 4, (1, 1, 1))
        write(tmp_path / 'val' / name, 2, (9, 9, 9))
    if unlabelled:
        write(tmp_path / 'test', 3, (5, 5, 5))
    data = ImageFolder(tmp_path)
    assert data.class_names == ('n01', 'n02') and len(data.images.train) == 8
    assert len(data.images.test) == 4 and all(path.parts[-3] == 'val' for path in data.images.test.paths)
    for name in ('n01', 'n02'):
        write(tmp_path / 'test' / name, 1, (5, 5, 5))
    assert all(path.parts[-3] == 'test' for path in ImageFolder(tmp_path).images.test.paths)


def test_the_centre_that_is_kept(folder):
    """8 of 10 pixels, so that the pixel in the corner is outside."""
    whole, centre = (ImageFolder(folder, image_size=8, crop_pct=share).images.train for share in (1.0, 0.8))
    assert whole.fingerprint() != centre.fingerprint()
    pixels = torch.arange(200, dtype=torch.uint8).reshape(10, 20).expand(3, -1, -1)
    image = to_pil_image(pixels)
    assert centre.fit(image).equal(pixels[:, 1:9, 6:14]) and not whole.fit(image).equal(centre.fit(image))
    with pytest.raises(DataError, match='crop_pct=0 must lie above 0 and at most at 1; use 1 to keep all of it'):
        ImageFolder(folder, crop_pct=0)


def test_batches_show_the_files(folder):
    data = ImageFolder(folder, image_size=16, batch_size=4, augment=False)
    for batch in data.evaluation_dataloader('train'):
        assert batch.images.shape == (len(batch.labels), 3, 16, 16)
        centre = ((batch.clean[:, :, 8, 8] + 1) * 127.5).round()
        expected = torch.where(batch.labels[:, None] == 1, torch.tensor([200.0, 0, 0]), torch.tensor([0, 0, 200.0]))
        assert centre.equal(expected)
    assert sum(len(batch.labels) for batch in data.train_dataloader()) == 7


def test_size_of_the_image_is_kept_by_the_short_side(tmp_path):
    for name in ('a', 'b'):
        (tmp_path / name).mkdir()
        for number in range(3):
            pixels = np.zeros((16, 48, 3), dtype=np.uint8)
            pixels[:, 16:32] = 255  # The centre square of a wide image.
            Image.fromarray(pixels).save(tmp_path / name / f'{number}.png')
    data = ImageFolder(tmp_path, image_size=16)
    assert (data.images.train.read(torch.tensor([0])) == 255).all()


@pytest.mark.parametrize('mode', ['L', 'P', 'RGBA', '1'])
def test_any_mode_becomes_three_channels(tmp_path, mode):
    for name in ('a', 'b'):
        write(tmp_path / name, 3, (255, 255, 255), mode=mode)
    images = ImageFolder(tmp_path, image_size=8).images.train.read(torch.tensor([0, 1]))
    assert images.shape == (2, 3, 8, 8) and images.dtype == torch.uint8 and (images[:, :, 4, 4] == 255).all()


def test_options_of_the_folder(folder):
    data = ImageFolder(folder, flip=False, mean=(0.1, 0.2, 0.3), std=(0.5, 0.5, 0.5))
    assert not data.augmentation.flip and data.mean == (0.1, 0.2, 0.3) and data.std == (0.5, 0.5, 0.5)


def refused(root, **options):
    with pytest.raises(DataError) as caught:
        ImageFolder(root, **options)
    return str(caught.value)


def test_errors_name_path_and_remedy(folder, tmp_path_factory):
    missing = folder / 'missing'
    assert (
        refused(missing)
        == f'The folder {missing} does not exist; pass the folder that holds one folder for each class.'
    )
    assert (
        refused(folder / 'blue')
        == f'The image folder {folder / "blue"} has 0 class folders; a classifier needs at least two.'
    )
    for numbers in ({'std': (0.0, 0.0, 0.0)}, {'std': (1.0, 1.0, math.inf)}, {'mean': (0.0, math.nan, 0.0)}):
        assert refused(folder, **numbers).endswith('give finite numbers, and a std above 0.')
    assert refused(folder, image_size=4) == 'image_size=4 is too small; use at least 8'
    (folder / 'green').mkdir()
    assert refused(folder) == f'The class folder {folder / "green"} holds no images; add some or remove it.'
    (folder / 'green' / 'notes.txt').write_text('not an image')
    assert refused(folder) == f'The class folder {folder / "green"} holds no images (1 .txt); add some or remove it.'
    folder = tmp_path_factory.mktemp('parts')
    write(folder / 'train' / 'a', 1, (0, 0, 0))
    assert refused(folder) == (
        f'{folder} has a folder train but no folder test with class folders (seen: train); add it, or pass '
        f'{folder / "train"} to have about a fifth of it held out.'
    )
    write(folder / 'train' / 'b', 1, (0, 0, 0))
    write(folder / 'test' / 'a', 1, (0, 0, 0))
    write(folder / 'test' / 'c', 1, (0, 0, 0))
    assert (
        refused(folder)
        == f'The parts have different classes: {folder / "train"} lacks c and {folder / "test"} lacks b; '
        f'give both the same class folders.'
    )


def test_one_class_is_too_few(tmp_path):
    write(tmp_path / 'only', 4, (0, 0, 0))
    assert refused(tmp_path) == f'The image folder {tmp_path} has 1 class folders; a classifier needs at least two.'


def test_too_few_images_for_two_halves(tmp_path):
    write(tmp_path / 'a', 2, (0, 0, 0))
    write(tmp_path / 'b', 2, (0, 0, 0))
    assert 'half holds no example of class' in refused(tmp_path)


@pytest.mark.parametrize('damage', ['text', 'truncated', 'removed'])
@pytest.mark.parametrize('workers', [0, 1])
def test_a_file_that_cannot_be_read_is_named(folder, damage, workers):
    data = ImageFolder(folder, num_workers=workers)
    path = data.images.train.paths[3]
    if damage == 'text':
        path.write_text('not an image')
    elif damage == 'truncated':
        path.write_bytes(path.read_bytes()[:60])
    else:
        path.unlink()
    with pytest.raises(DataError, match=r'The image .* cannot be read \(.*\); replace or remove the file.') as caught:
        list(data.evaluation_dataloader('train'))
    assert str(path) in str(caught.value)


def test_files_are_not_held_on_a_gpu(folder):
    with pytest.raises(DataError, match='files are decoded on the CPU, not on cuda; leave device out'):
        ImageFolder(folder, device='cuda')


@pytest.mark.parametrize(('dtype', 'mode'), [('uint16', 'I;16'), ('int32', 'I'), ('float32', 'F')])
def test_images_of_more_than_8_bits_are_refused(tmp_path, dtype, mode):
    """Cut to 8 bits they would be white or black."""
    path = tmp_path / 'deep.tif'
    Image.fromarray(np.full((8, 8), 300, dtype)).save(path)
    with pytest.raises(DataError, match=f'deep.tif cannot be read .its mode {mode} has more than 8 bits a channel'):
        decode(path, 8)


@pytest.mark.parametrize(
    ('train', 'test'),
    [('Training', 'Testing'), ('Train', 'Test'), ('TRAIN', 'Val'), ('training', 'validation'), ('train', 'valid')],
)
@pytest.mark.parametrize('above', ['', 'archive', 'archive/data'])
def test_parts_as_data_set_sites_name_them(tmp_path, train, test, above):
    for name in (train, test):
        write_photographs(tmp_path / above / name, count=4)
    (tmp_path / above / 'README.txt').write_text('from a data set site')
    data = ImageFolder(tmp_path)
    assert data.class_names == ('a', 'b', 'c', 'd') and len(data.images.train) == len(data.images.test) == 16
    assert all(path.parts[-3] == train for path in data.images.train.paths)
    assert all(path.parts[-3] == test for path in data.images.test.paths)


def test_parts_inside_a_folder_of_their_own_name(tmp_path):
    for name in ('train', 'test'):
        write_photographs(tmp_path / name / 'images', count=4)
    assert ImageFolder(tmp_path).class_names == ('a', 'b', 'c', 'd')


@pytest.mark.parametrize('name', ['train', 'test', 'Validation'])
def test_a_class_called_as_a_part(tmp_path, name):
    write_photographs(tmp_path, names=['boat', 'car', name])
    assert ImageFolder(tmp_path).class_names == tuple(sorted(['boat', 'car', name]))


def test_what_is_left_out_is_told(tmp_path, capsys):
    write_photographs(tmp_path)
    ImageFolder(tmp_path)
    assert capsys.readouterr().err == ''
    (tmp_path / '__MACOSX' / 'a').mkdir(parents=True)
    (tmp_path / 'a' / '.ipynb_checkpoints').mkdir()
    for name in ('._0.png', 'Thumbs.db', '.ipynb_checkpoints/0-checkpoint.png', 'x.txt', 'y.txt', 'z.TXT'):
        (tmp_path / 'a' / name).write_bytes(b'no image')
    (tmp_path / 'b' / 'link.png').symlink_to(tmp_path / 'gone.png')
    images = ImageFolder(tmp_path).images
    assert len(images.train) + len(images.test) == 96
    assert capsys.readouterr().err == (
        f'{tmp_path}: left out: 3 hidden or system names, 3 .txt, 1 broken link\n'
    )


@pytest.mark.parametrize('suffix', ['.jfif', '.avif', '.JPG', '.webp'])
def test_less_usual_suffixes(tmp_path, suffix):
    write_photographs(tmp_path, suffix=suffix)
    images = ImageFolder(tmp_path).images
    assert len(images.train) + len(images.test) == 96 and images.test.read(torch.arange(3)).float().std() > 1


def test_a_part_that_stands_twice_and_one_without_classes(tmp_path):
    for name in ('train', 'Training', 'test'):
        write(tmp_path / name / 'a', 1, (0, 0, 0))
    assert refused(tmp_path) == (
        f'{tmp_path} has both Training and train, which mean the same part; keep one of them.'
    )
    for name in ('train', 'test'):
        write(tmp_path / 'flat' / name, 3, (0, 0, 0))
    assert refused(tmp_path / 'flat') == (
        f'{tmp_path / "flat"} has the folders test, train, but none of them has class folders; '
        'give each a folder for each class.'
    )
