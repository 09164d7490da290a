"""Damaged images are found before training, all at once; and the list of test images."""

import csv

import pytest
from photographs import write_photographs

from nni_wcnas.data import DataError, Digits, ImageFolder
from nni_wcnas.data.image_check import check_images
from nni_wcnas.data.image_list import write_image_list


@pytest.fixture(params=['.jpg', '.png'])
def data(request, tmp_path):
    return ImageFolder(write_photographs(tmp_path / 'photographs', suffix=request.param))


def _refused(data, **options):
    with pytest.raises(DataError) as caught:
        check_images(data, **options)
    return str(caught.value)


def test_whole_images_pass(data):
    assert check_images(data) == 96 and check_images(Digits()) == 0


def test_a_truncated_test_image_is_found(data):
    path = data.images.test.paths[0]
    path.write_bytes(path.read_bytes()[:-200])
    assert _refused(data).startswith(f'The image {path} cannot be read (')
    # The header is whole.
    assert check_images(data, whole=False) == 96


def test_all_damaged_files_are_told_at_once(data):
    paths = data.images.train.paths[:12]
    for path in paths:
        path.write_bytes(b'not an image')
    paths[0].unlink()
    for whole in (True, False):
        message = _refused(data, whole=whole)
        assert message.startswith('12 of 96 images cannot be read:\n') and message.endswith('\n  and 2 more')
        assert all(str(path) in message for path in paths[:10]) and str(paths[10]) not in message


def test_the_list_of_test_images(data, tmp_path):
    write_image_list(data, tmp_path / 'list.csv')
    with open(tmp_path / 'list.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    assert [row['image'] for row in rows] == [str(path) for path in data.images.test.paths]
    assert [row['index'] for row in rows] == [str(index) for index in range(len(rows))]
    assert all(row['class'] in row['image'].split('/') for row in rows)
    digits = Digits()
    write_image_list(digits, tmp_path / 'digits.csv')
    lines = (tmp_path / 'digits.csv').read_text().splitlines()
    assert lines[0] == 'index,image,class' and lines[1] == f'0,0,{int(digits.images.test.labels[0])}'
