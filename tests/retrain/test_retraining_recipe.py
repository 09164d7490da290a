"""The papers' recipes: the numbers of the tables, the schedules by hand, and what is refused before a training."""

import dataclasses
import math

import pytest
import torch

from nni_wcnas.network.cell_network import CellNetwork, count_macs
from nni_wcnas.retrain.recipe import RETRAINING_RECIPES, RetrainingRecipe, make_recipe, named_recipe
from nni_wcnas.retrain.retraining import build_network, retrain, with_stem

TABLES = {  # epochs, channels, cells, lr, weight decay, auxiliary weight, drop path, clip, smoothing, batch
    'darts': (600, 36, 20, 0.025, 3e-4, 0.4, 0.2, 5, 0, 96),
    'p_darts': (600, 36, 20, 0.025, 3e-4, 0.4, 0.2, 5, 0, 128),
    'pc_darts': (600, 36, 20, 0.025, 3e-4, 0.4, 0.2, 5, 0, 128),
    'pr_darts': (600, 36, 20, 0.025, 3e-4, 0.4, 0.2, 5, 0, 96),
    'adversarial': (600, 36, 20, 0.025, 3e-4, 0.4, 0.3, 5, 0, 128),
    'imagenet': (250, 48, 14, 0.5, 3e-5, 0.4, 0.0, 5, 0.1, 1024),
    'stl10': (600, 36, 20, 0.025, 3e-4, 0.4, 0.2, 5, 0, 96),
}


@pytest.mark.parametrize('name', RETRAINING_RECIPES)
def test_tables(name):
    recipe = make_recipe(name)
    found = (
        recipe.epochs, recipe.channels, recipe.cells, recipe.lr, recipe.weight_decay, recipe.auxiliary_weight,
        recipe.drop_path, recipe.gradient_clip_val, recipe.label_smoothing, RETRAINING_RECIPES[name].data['batch_size'],
    )
    assert found == TABLES[name]


def test_numbers_go_before_the_recipes():
    assert make_recipe('imagenet', lr=0.1, cells=8) == dataclasses.replace(
        make_recipe('imagenet'), lr=0.1, cells=8)
    assert make_recipe() == RetrainingRecipe()


def test_unknown_name(architecture, tiny):
    with pytest.raises(ValueError, match=r"unknown recipe 'pcdarts': did you mean 'pc_darts'\? Known are darts, p_d"):
        retrain(architecture, tiny(), recipe='pcdarts')
    assert named_recipe('stl10') is RETRAINING_RECIPES['stl10']


def test_linear_decay_of_imagenet():
    recipe = make_recipe('imagenet')
    rates = [recipe.lr_at(epoch) for epoch in range(250)]
    assert rates[:5] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
    assert rates[5] == pytest.approx(0.5 * 240 / 245)
    assert rates[244] == pytest.approx(0.5 / 245)
    assert rates[245:] == pytest.approx([0.5 * left / (245 * 5) for left in (5, 4, 3, 2, 1)])
    assert recipe.drop_path_at(249) == 0


def test_warmup_leaves_the_decay_alone():
    assert [RetrainingRecipe(epochs=4, warmup=2, lr=1.0).lr_at(epoch) for epoch in range(4)] == pytest.approx(
        [0.5, 1.0, 0.5, (1 + math.cos(0.75 * math.pi)) / 2])


@pytest.mark.parametrize(
    ('numbers', 'message'),
    [
        ({'decay': 'linear', 'epochs': 5}, 'epochs must be more than the 5 last ones of the linear decay, not 5'),
        ({'decay': 'step'}, "decay must be one of 'cosine', 'linear', not 'step'"),
        ({'stem': 'none'}, "stem must be one of 'cifar', 'imagenet', not 'none'"),
        ({'precision': 'fp16'}, "precision must be one of '32-true', 'bf16-mixed', not 'fp16'"),
        ({'label_smoothing': 1.0}, 'label_smoothing must be from 0 to below 1, not 1.0'),
        ({'ema_decay': 1.0}, 'ema_decay must be from 0 to below 1, not 1.0'),
        ({'ema_decay': -0.1}, 'ema_decay must be from 0 to below 1, not -0.1'),
        ({'adversarial_steps': -1}, 'adversarial_steps must be a finite number .*, not -1'),
        ({'warmup': -1}, 'warmup must be a finite number .*, not -1'),
        ({'seed': -1}, 'seed must be a finite number from 0 on, not -1'),
    ],
)
def test_errors(numbers, message):
    with pytest.raises(ValueError, match=message):
        RetrainingRecipe(**numbers)


def test_too_many_multiply_adds(architecture, tiny, tmp_path):
    data = tiny()
    data.image_size = 8
    macs = count_macs(CellNetwork(architecture, 4, 3, 3), 8)
    recipe = RetrainingRecipe(channels=4, cells=3, max_macs=macs)
    assert isinstance(build_network(architecture, data, recipe), CellNetwork)
    with pytest.raises(ValueError, match=f'the network takes {macs / 1e6:.1f} million multiply-adds for an image, more '
                                         f'than max_macs={macs - 1} allows: lower channels or cells'):
        retrain(architecture, data, channels=4, cells=3, max_macs=macs - 1, directory=tmp_path)
    assert data.asked == [] and not list(tmp_path.iterdir())


def test_a_limit_of_multiply_adds_needs_the_size_of_an_image(architecture, tiny):
    data = tiny()
    with pytest.raises(ValueError, match='max_macs limits the multiply-adds of an image, but the data have no image_s'):
        retrain(architecture, data, recipe='imagenet')
    assert data.asked == []


def test_darts_v2_is_mobile(architecture, tiny):
    """DARTS V2 has 529 million multiply-adds at 48 channels, batch norm not counted; at 56 it is not mobile."""
    data = tiny()
    data.image_size = 224
    with torch.device('meta'):
        recipe = make_recipe('imagenet')
        network = build_network(architecture, data, recipe)
        assert count_macs(network, 224) == pytest.approx(529e6, rel=0.01)
        with pytest.raises(ValueError, match='more than max_macs=600000000 allows'):
            build_network(architecture, data, dataclasses.replace(recipe, channels=56))


def test_stem(architecture):
    assert with_stem(architecture, None) is with_stem(architecture, 'cifar') is architecture
    other = with_stem(architecture, 'imagenet')
    assert other.arguments['stem'] == 'imagenet' and other.sample == architecture.sample
    assert with_stem(other, 'cifar').arguments['stem'] == 'cifar'
