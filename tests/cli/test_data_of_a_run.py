"""Commands refuse data that changed under a run, and damaged images before training."""

import pytest
from photographs import write_photographs

from nni_wcnas.cli.retraining_run import data_of
from nni_wcnas.data.identity import check_identity, identify
from nni_wcnas.files.run_directory import RunDirectory
from nni_wcnas.settings.problems import CommandError

SMALL = ('--channels', '4', '--cells', '3', '--epochs', '1', '--cpu')


def test_a_renamed_class_stops_evaluation_and_resuming(tmp_path, here):
    photographs, run = write_photographs(tmp_path / 'photographs'), tmp_path / 'run'
    told = ('darts_v2', '--data', f'{{name: image_folder, root: {photographs}, image_size: 16}}', '--run', run, *SMALL)
    assert here('retrain', *told).returncode == 0
    (photographs / 'b').rename(photographs / 'z')
    changed = f"The data are not those of {run}: class 'b' is now 'z'; the order of the classes changed"
    for words in (('evaluate', run, '--cpu'), ('retrain', *told, '--resume')):
        done = here(*words)
        assert done.returncode == 2 and changed in done.stderr
    (photographs / 'z').rename(photographs / 'b')
    assert here('evaluate', run, '--cpu').returncode == 0
    # Data that were moved as a whole are found where the command says, and their images listed by index.
    moved = photographs.rename(tmp_path / 'moved')
    assert here('evaluate', run, '--cpu').returncode == 2
    assert here('evaluate', run, '--cpu', '--root', moved).returncode == 0
    assert here('evaluate', run, '--list-images', tmp_path / 'list.csv', '--root', moved).returncode == 0
    head, *rows = (tmp_path / 'list.csv').read_text().splitlines()
    assert head == 'index,image,class' and [row.split(',')[0] for row in rows] == [str(n) for n in range(len(rows))]
    assert all(str(moved / row.split(',')[2]) in row.split(',')[1] for row in rows)
    moved.rename(photographs)
    # An image is replaced: the old numbers are not shown again.
    path = next((photographs / 'c').iterdir())
    path.write_bytes((photographs / 'a' / '0.jpg').read_bytes())
    done = here('evaluate', run, '--cpu')
    assert done.returncode == 2 and "images of class 'c' (other images) changed" in done.stderr


def test_a_search_is_not_resumed_on_more_images(tmp_path, here):
    photographs, run = write_photographs(tmp_path / 'photographs'), tmp_path / 'run'
    path = tmp_path / 'search.yml'
    path.write_text(
        f'data: {{name: image_folder, root: {photographs}, image_size: 16, batch_size: 20}}\n'
        'space: {name: darts, width: 4, num_cells: 3}\nmethod: darts\nsearch: {epochs: 1}\ndevice: cpu\n'
    )
    done = here('search', path, '--run', run)
    assert done.returncode == 0, done.stderr
    write_photographs(photographs, names='e')
    done = here('search', path, '--run', run, '--resume')
    assert done.returncode == 2 and "there were 4 classes and are now 5; 'e' is new" in done.stderr


def test_a_truncated_test_image_stops_retraining_before_it_begins(tmp_path, here):
    photographs, run = write_photographs(tmp_path / 'photographs'), tmp_path / 'run'
    for path in (photographs / 'a').iterdir():
        path.write_bytes(path.read_bytes()[:-200])
    data = f'{{name: image_folder, root: {photographs}, image_size: 16}}'
    done = here('retrain', 'darts_v2', '--data', data, '--run', run, *SMALL)
    assert done.returncode == 2 and '24 of 96 images cannot be read:' in done.stderr and not run.exists()


def test_moved_data_are_found_by_their_new_place(tmp_path):
    photographs, run = write_photographs(tmp_path / 'photographs'), RunDirectory(tmp_path / 'run')
    run.path.mkdir()
    run.write_settings({'data': {'name': 'image_folder', 'root': str(photographs), 'image_size': 16}})
    before = identify(data_of(run))
    photographs.rename(tmp_path / 'moved')
    with pytest.raises(CommandError, match='does not exist'):
        data_of(run)
    assert identify(data_of(run, tmp_path / 'moved')) == before and not check_identity(run.path, before)
    run.write_settings({'data': {'name': 'digits'}})
    with pytest.raises(CommandError, match='the data digits of .* lie in no folder; leave the folder out'):
        data_of(run, tmp_path / 'moved')
