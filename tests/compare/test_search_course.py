"""How the searches went, on the page: from the run around a retraining, through the record, epoch by epoch."""

import re
from dataclasses import replace

import pytest
import torch
from test_comparison import CLEAR, page

from nni_wcnas.compare import comparison_page
from nni_wcnas.files.record import describe, load_record, save_record
from nni_wcnas.files.run_directory import RunDirectory
from nni_wcnas.page.run_pictures import write_generated


def searched(path, epochs=12):
    """A trial's run, with a retraining inside."""
    run, inner = RunDirectory(path), RunDirectory(path / 'retraining')
    run.write_history([{'epoch': epoch, 'entropy': 1.5 - epoch / 10, 'loss_A': float('nan')}
                       for epoch in range(epochs + 1)])
    for epoch in range(epochs + 1):
        write_generated(run, epoch, torch.full((2, 3, 4, 4), epoch / 20), torch.arange(2))
    inner.write_settings({'data': {'name': 'digits'}, 'retrain': {'seed': 0}})
    return run, inner


def test_a_record_keeps_how_its_search_went(tmp_path):
    run, inner = searched(tmp_path / 'trial')
    found = load_record(save_record(describe(inner), tmp_path / 'record.json'))
    assert found.search_history == [{'epoch': row['epoch'], 'entropy': row['entropy']} for row in run.read_history()]
    assert [grid['epoch'] for grid in found.tester_images] == [0, 4, 8, 12]
    assert len({grid['image'] for grid in found.tester_images}) == 4
    alone = RunDirectory(tmp_path / 'alone')
    alone.write_settings({'data': {'name': 'digits'}, 'retrain': {'seed': 0}})
    assert describe(alone).search_history == describe(alone).tester_images == []


def test_the_page_shows_it(tmp_path):
    """A line and its last value for each method that is known; images of the one that has a tester."""
    _, inner = searched(tmp_path / 'trial')
    known = describe(inner)
    ours = [replace(each, search_history=known.search_history, tester_images=known.tester_images) for each in CLEAR[3:]]
    history = [{'epoch': epoch, 'entropy': 1.5} for epoch in range(13)]
    theirs = [replace(each, search_history=history) for each in CLEAR[:3]]
    html, found = comparison_page([*theirs, *ours]), page([*theirs, *ours], tmp_path)
    assert 'Entropy of A, theirs: 1.5 at 12; ours &lt;b&gt;: 0.3 at 12' in html
    assert re.findall(r'<figcaption>epoch (\d+)', html) == ['0', '4', '8', '12']
    assert "The tester's images: ours <b>, seed 0" in found.text and "images: theirs" not in found.text


def test_without_a_search_there_is_no_such_section():
    assert 'How the searches went' not in comparison_page(CLEAR)


@pytest.mark.parametrize('grid', [{'epoch': 1}, {'epoch': 'x', 'image': ''}, {'epoch': 1, 'image': '?'}])
def test_damaged_images_are_refused(grid, tmp_path):
    path = save_record(replace(CLEAR[0], tester_images=[grid]), tmp_path / 'record.json')
    with pytest.raises(ValueError, match='is no whole record'):
        load_record(path)


@pytest.mark.parametrize('difference', [0.0, 1e-9, 1e-7, 1e-5, 1e-3])
def test_an_entropy_that_hardly_moves_has_a_plot(difference):
    """Ticks of so near values would fall together."""
    history = [{'epoch': epoch, 'entropy': 1.0397207 + epoch * difference} for epoch in range(2)]
    html = comparison_page([replace(each, search_history=history) for each in CLEAR])
    assert 'Entropy of A' in html and 'nan' not in html.partition('Entropy of A')[2].partition('</svg>')[0]


def test_every_search_shows_its_tester(tmp_path):
    """Those that made the same images once, under all their seeds."""
    _, inner = searched(tmp_path / 'trial')
    images = describe(inner).tester_images
    other = [{**grid, 'image': images[-1]['image']} for grid in images]
    html = comparison_page([replace(each, tester_images=grids) for each, grids in
                            zip(CLEAR[:3], (images, images, other), strict=True)] + CLEAR[3:])
    assert re.findall(r"<h3>The tester&#39;s images: (.*?)</h3>", html) == ['theirs, seed 0, 1', 'theirs, seed 2']
