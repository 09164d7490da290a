"""Views of the image as a choice: in front of DARTS's cells, and alone."""

import pytest
import torch
from torch import nn

from nni_wcnas import Search, presets
from nni_wcnas.network.cell_network import CellNetwork
from nni_wcnas.spaces import DARTS, Architecture, ArchitectureError, ViewNetwork
from nni_wcnas.spaces.operations import PRIMITIVES
from nni_wcnas.spaces.views import VIEWS
from nni_wcnas.supernet.choices import cells_by_label

MADE = {
    'darts': lambda **views: DARTS(width=4, num_cells=3, **{'views': tuple(VIEWS), **views}),
    'view_network': lambda **views: ViewNetwork(width=4, **views),
}


@pytest.mark.parametrize('name', MADE)
class TestSpace:
    def test_a_search_takes_a_view_and_a_network_of_it_sees_that_alone(self, search, name):
        strategy = search(presets.darts(arc_learning_rate=0.1), MADE[name](), images=8, batch_size=4)
        sample = dict(next(strategy.list_models()).sample)
        assert sample['view'] in VIEWS and bool(cells_by_label(strategy.supernet)) == (name == 'darts')
        for view in VIEWS:
            frozen = MADE[name]().freeze({**sample, 'view': view}).eval()
            images = torch.randn(3, 3, 16, 16)
            kinds = [type(module) for module in frozen.modules() if type(module) in VIEWS.values()]
            assert VIEWS[view] in kinds
            same = torch.equal(frozen(images), frozen(images.mean(1, keepdim=True).expand_as(images)))
            assert same == (view == 'luminance')

    def test_the_choice_is_relaxed_like_any_other(self, search, name):
        strategy = search(presets.darts(arc_learning_rate=0.1), MADE[name](), images=8, batch_size=4)
        weights = [a for a in strategy.oneshot_module.architecture().values() if a.shape[-1] == len(VIEWS)]
        assert any(alpha.abs().sum() > 0 for alpha in weights)

    def test_fewer_views(self, name):
        space = MADE[name](views=('raw', 'blurred'))
        assert space.simplify()['view'].values == ['raw', 'blurred']

    @pytest.mark.parametrize(
        ('views', 'message'),
        [
            (('raw', 'grey'), "views must hold only raw, luminance, cropped, normalised, blurred, not 'grey'"),
            (('raw',), r"views must be at least two different ones to choose from, not \['raw'\]"),
            (('raw', 'raw'), 'views must be at least two different ones'),
        ],
    )
    def test_refused(self, name, views, message):
        with pytest.raises(ValueError, match=message):
            MADE[name](views=views)


def test_without_views_the_stem_is_as_published():
    assert isinstance(DARTS(width=4, num_cells=3).stem[0], nn.Conv2d)
    assert 'view' not in DARTS(width=4, num_cells=3).simplify()


def test_behind_the_imagenet_stem(search):
    space = MADE['darts'](stem='imagenet', views=('raw', 'luminance'))
    strategy = search(Search(), space, images=4, batch_size=2, size=64)
    frozen = MADE['darts'](stem='imagenet', views=('raw', 'luminance'))
    sample = {**next(strategy.list_models()).sample, 'view': 'luminance'}
    images = torch.randn(2, 3, 64, 64)
    grey = images.mean(1, keepdim=True).expand_as(images)
    network = frozen.freeze(sample).eval()
    torch.testing.assert_close(network(images), network(grey))


def _sample(**changed):
    edges = {
        f'{cell}/{kind}_{node}_{k}': 'skip_connect' if kind == 'op' else [k]
        for cell in ('normal', 'reduce') for node in range(2, 6) for k in range(2) for kind in ('op', 'input')
    }
    return {'view': 'blurred', **edges, **changed}


class TestArchitecture:
    VIEWS = {'views': ['raw', 'blurred']}

    def test_the_retrained_network_has_the_view(self):
        architecture = Architecture('darts', _sample(), PRIMITIVES, arguments=self.VIEWS)
        network = CellNetwork(architecture, 4, 3).eval()
        assert architecture.view == 'blurred' and isinstance(network.stem[0], VIEWS['blurred'])
        sample = _sample()
        del sample['view']
        plain = CellNetwork(Architecture('darts', sample, PRIMITIVES), 4, 3)
        assert isinstance(plain.stem[0], nn.Conv2d)
        images = torch.randn(2, 3, 16, 16)
        plain.load_state_dict({key.replace('stem.1', 'stem.0').replace('stem.2', 'stem.1'): value
                               for key, value in network.state_dict().items()})
        torch.testing.assert_close(network(images), plain.eval()(VIEWS['blurred']()(images)))

    @pytest.mark.parametrize(
        ('sample', 'arguments', 'message'),
        [
            (_sample(view='cropped'), VIEWS, "key 'sample.view' is 'cropped': did you mean"),
            (_sample(), {'views': ['raw', 'blured']}, "key 'arguments.views' holds 'blured': did you mean 'blurred'"),
            (_sample(), {}, "key 'sample.view' is unknown"),
            ({k: v for k, v in _sample().items() if k != 'view'}, VIEWS, "key 'sample.view' is missing"),
        ],
    )
    def test_refused(self, sample, arguments, message):
        with pytest.raises(ArchitectureError, match=message):
            Architecture('darts', sample, PRIMITIVES, arguments=arguments)
