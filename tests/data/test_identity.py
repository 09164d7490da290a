"""Data that changed under a run are refused, with what changed."""

import re

import pytest
from photographs import write_photographs

from nni_wcnas.data import DataError, Digits, ImageFolder
from nni_wcnas.data.identity import IDENTITY_FILE, check_identity, identify, keep_identity


@pytest.fixture
def run(tmp_path):
    """A run's folder, with the identity of the photographs beside it."""
    write_photographs(tmp_path / 'photographs')
    keep_identity(tmp_path / 'run', _now(tmp_path))
    return tmp_path / 'run'


def _now(place):
    return identify(ImageFolder(place / 'photographs'))


def _refused(run):
    with pytest.raises(DataError) as caught:
        check_identity(run, _now(run.parent))
    return str(caught.value)


def test_the_same_data_pass_also_elsewhere(run):
    assert check_identity(run, _now(run.parent))
    (run.parent / 'photographs').rename(run.parent / 'moved')
    assert check_identity(run, identify(ImageFolder(run.parent / 'moved')))
    assert not check_identity(run.parent, identify(ImageFolder(run.parent / 'moved')))


def test_a_class_is_renamed(run):
    photographs = run.parent / 'photographs'
    (photographs / 'b').rename(photographs / 'z')
    message = _refused(run)
    assert "class 'b' is now 'z'; the order of the classes changed; put the data back" in message


def test_a_class_is_added_or_removed(run):
    photographs = run.parent / 'photographs'
    (photographs / 'd').rename(run.parent / 'd')
    assert "there were 4 classes and are now 3; 'd' is missing" in _refused(run)
    (run.parent / 'd').rename(photographs / 'd')
    write_photographs(photographs, names='e')
    assert "there were 4 classes and are now 5; 'e' is new" in _refused(run)


def test_images_are_added_and_replaced(run):
    photographs = run.parent / 'photographs'
    before = ImageFolder(photographs).images
    count = int((before.test.labels == 1).sum())
    next(path for path in before.test.paths if path.parent.name == 'b').unlink()
    assert f"the test images of class 'b' ({count} images, now {count - 1}) changed" in _refused(run)
    for path in before.train.paths:
        if path.parent.name == 'c':
            path.write_bytes((photographs / 'a' / '0.jpg').read_bytes())
    assert "the training images of class 'c' (other images) changed" in _refused(run)


def test_arrays_are_identified_by_their_bytes(tmp_path):
    digits = Digits(limit=80, batch_size=20)
    keep_identity(tmp_path, identify(digits))
    assert check_identity(tmp_path, identify(Digits(limit=100)))
    store = digits.images.train
    position = int((store.labels == 3).nonzero()[0])
    store.images[position, 0, 8, 8] ^= 1
    with pytest.raises(DataError, match=re.escape("the training images of class '3' (other images) changed")):
        check_identity(tmp_path, identify(digits))


@pytest.mark.parametrize('text', ['', '[]', '{"class_names": ["a"], "train": [], "test": []}', '{'])
def test_a_damaged_file_is_named(run, text):
    (run / IDENTITY_FILE).write_text(text)
    assert _refused(run).startswith(f'{run / IDENTITY_FILE} is not what a run keeps of its data (')
