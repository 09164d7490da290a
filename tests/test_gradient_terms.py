"""What A and B really follow, under a preset's defaults: the regulariser stays small, and products are exact."""

import pytest
import torch
from gradient_terms import Probed, products, terms
from worst_case_search import QUIET, run

import nni_wcnas as wc
from nni_wcnas.spaces.robust import s4

SPACES = {
    'darts': lambda: wc.spaces.DARTS(
        width=4, num_cells=3, operations=('none', 'skip_connect', 'sep_conv_3x3')),
    'nasbench201': lambda: wc.spaces.NASBench201(width=4, num_cells=1),
    's4': lambda: s4(width=4, num_cells=3),
}
TESTERS = {
    'policy': lambda: wc.AugmentationPolicy(10, image_size=16),
    'fq_gan': lambda: wc.FQGAN(10, image_size=16, width=8, latent=8, dictionary_size=8, ema_start=1),
    'sn_gan': lambda: wc.SNGAN(10, image_size=16, width=8, latent=8, ema_start=1),
}


def _measure(objective, step):
    return {'terms': terms(objective, step), 'products': products(objective, step)}


@pytest.fixture(scope='module', params=[(space, tester) for space in SPACES for tester in TESTERS], ids=' '.join)
def found(request):
    """At the first update and at the second."""
    space, tester = request.param
    torch.manual_seed(0)
    strategy = wc.presets.wcnas()
    probe = strategy.objective = Probed(strategy.objective, (0, 8), _measure)
    data = wc.data.Digits(batch_size=25, limit=500)
    evaluator = wc.SearchEvaluator(data, tester=TESTERS[tester](), max_epochs=1, limit_train_batches=9,
                                   limit_val_batches=0, **QUIET)
    run(strategy, make=lambda: (SPACES[space](), evaluator))
    return probe.found


def test_the_regulariser_is_less_than_a_tenth_of_what_a_follows(found):
    for measured in found.values():
        share = measured['terms']['A']
        assert 0 < share['decov'] < 0.1
        assert share['generated'] > 0.1 and share['real'] > 0.1


def test_b_follows_both_of_its_terms(found):
    for measured in found.values():
        share = measured['terms']['B']
        assert share['norm'] > 0 and set(share) == {'norm', 'generated', 'meaning'}
        assert share['generated'] > 0.01 and share['meaning'] > 1e-5


def test_products_are_exact_by_default(found):
    for measured in found.values():
        assert 'W' in measured['products'] and 'V' in measured['products']
        for product in measured['products'].values():
            assert product['own']['cosine'] > 0.999
            assert product['own']['length'] == pytest.approx(1, abs=0.01)
