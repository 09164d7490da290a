"""Published cells have the sizes that their papers print."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from torchvision.models import resnet18

import nni_wcnas as wc
from nni_wcnas.network.cell_network import CellNetwork, count_macs, count_parameters
from nni_wcnas.page.drawing import draw_cell
from nni_wcnas.spaces import published
from nni_wcnas.spaces.architecture import ArchitectureError, load_architecture, save_architecture

# Millions of weights. The papers round to 0.1; the authors' DARTS_V1 is smaller than the 3.3 of its paper's table.
SIZES = {
    'darts_v1': 3.17, 'darts_v2': 3.3, 'pc_darts_cifar10': 3.6, 'p_darts_cifar10': 3.4, 'sdarts_adv': 3.3,
    'drnas_cifar10': 4.1, 'pc_darts_imagenet': 5.3, 'drnas_imagenet': 5.7,
}


def test_every_cell_has_a_size():
    assert set(published.names()) == set(SIZES)


@pytest.mark.parametrize('name', published.names())
def test_size_is_the_papers(name):
    architecture = published.load(name)
    shape = (48, 14, 1000) if architecture.arguments.get('stem') == 'imagenet' else (36, 20, 10)
    assert count_parameters(CellNetwork(architecture, *shape)) / 1e6 == pytest.approx(SIZES[name], abs=0.05)


def test_multiply_accumulates():
    assert count_macs(CellNetwork(published.load('darts_v2'), 36, 20, 10), 32) / 1e9 == pytest.approx(0.5284, abs=5e-5)
    assert count_macs(resnet18(), 224) / 1e9 == pytest.approx(1.8141, abs=5e-5)


@pytest.mark.parametrize('name', published.names())
def test_loads_draws_and_round_trips(name, tmp_path):
    architecture = wc.published_architecture(name)
    assert architecture == published.load(name)
    assert {'method', 'paper', 'source', 'searched_on'} <= architecture.provenance.keys()
    ElementTree.parse(draw_cell(architecture.cell('normal'), tmp_path / 'cell.svg'))
    assert load_architecture(save_architecture(architecture, tmp_path / 'architecture.json')) == architecture


def test_unknown_name_is_refused():
    with pytest.raises(ArchitectureError, match="^no published cell 'dart_v2': did you mean 'darts_v2'"):
        published.load('dart_v2')
