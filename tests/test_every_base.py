"""Every objective on every base method, with every kind of tester: it trains, or is refused with its reason."""

import pytest
import torch
from worst_case_search import QUIET, run

import nni_wcnas as wc
from nni_wcnas.presets import BASES

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

OBJECTIVES = (
    wc.AverageCase(),
    wc.SelfPaced('mixture'),
    wc.InstanceHardness('ucb'),
    wc.ConditionalValueAtRisk(),
    wc.GroupWorstCase(),
    wc.SaliencyAware(every=1, saliency_every=1, steps=1),
    wc.SelectedExamples(pairs=64, every=1),
    wc.SynthesizedValidation(real_share=0.5),
    wc.SynthesizedValidation(hyperparameter_lr=0.1),
    wc.WorstCase(every=1),
    wc.WorstCase(every=1, trade_off=0.0),
)
SHORT = {
    'pc_darts': {'schedule': wc.SingleStage()},
    'p_darts': {'schedule': wc.Progressive((2,), num_cells=(3, 4))},
    'drnas_progressive': {'schedule': wc.Progressive((3,), shares=(6, 4), is_fresh=False)},
    'darts_pt': {'tune_epochs': 1},
    'sdarts_adv': {'smoothing': wc.AdversarialSmoothing(steps=1)},
}
"""What makes a base shorter."""
TESTERS = {
    'policy': lambda: None,
    'corruptions': lambda: wc.Corruptions(10, image_size=16),
    'perturbation': lambda: wc.Perturbation(10, image_size=16),
    'fq_gan': lambda: wc.FQGAN(10, image_size=16, width=4, latent=8, dictionary_size=8, ema_start=1),
    'sn_gan': lambda: wc.SNGAN(10, image_size=16, width=4, latent=8),
    'architecture': lambda: wc.BigGAN(10, image_size=16, width=4, latent=8, learns='architecture'),
}


def _parts(tester):
    torch.manual_seed(0)
    operations = ('none', 'max_pool_3x3', 'skip_connect', 'sep_conv_3x3', 'dil_conv_3x3')
    space = wc.spaces.DARTS(width=12, num_cells=3, num_nodes=2, operations=operations)
    given = TESTERS[tester]()
    auxiliary = 'test_resnet' if tester in ('policy', 'corruptions') else None
    data = wc.data.Digits(batch_size=10, limit=40)
    return space, wc.SearchEvaluator(data, tester=given, auxiliary=auxiliary, max_epochs=1, **QUIET)


@pytest.mark.parametrize('tester', TESTERS)
@pytest.mark.parametrize('objective', OBJECTIVES, ids=repr)
@pytest.mark.parametrize('base', BASES)
def test_trains_or_is_refused(base, objective, tester):
    """One epoch; the found cell has an operation and an input for each of its edges."""
    if not objective.needs_tester and tester != 'policy':
        pytest.skip('it has no tester')
    learns_b = isinstance(objective, wc.SynthesizedValidation) and objective.hyperparameter_lr > 0
    try:
        search = BASES[base](objective=objective, **SHORT.get(base, {}))
    except ValueError as error:
        assert learns_b and 'SynthesizedValidation learns B' in str(error) and 'FirstOrder' in str(error)
        return
    if objective.needs_generator and tester in ('policy', 'corruptions', 'perturbation'):
        with pytest.raises(ValueError, match='needs a tester with a generator'):
            run(search, make=lambda: _parts(tester))
        return
    run(search, make=lambda: _parts(tester))
    assert len(next(search.list_models()).sample) == 16
