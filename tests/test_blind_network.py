"""A drawn network that does not see its images: whatever asks how its loss depends on them is told that it does not."""

import pytest
import torch
from worst_case_search import QUIET, run

import nni_wcnas as wc

TESTERS = {
    'augmentation_policy': lambda: wc.AugmentationPolicy(10, image_size=16),
    'corruptions': lambda: wc.Corruptions(10, image_size=16),
    'perturbation': lambda: wc.Perturbation(10, image_size=16),
    'fq_gan': lambda: wc.FQGAN(10, image_size=16, width=4, latent=8, dictionary_size=8, ema_start=1),
}


@pytest.mark.parametrize('tester', TESTERS)
@pytest.mark.parametrize('base', ['gdas', 'darts'])
def test_none_alone(base, tester):
    """With hard draws now and then no edge on the way to the output has an operation."""
    torch.manual_seed(1)
    space = wc.spaces.NASBench201(width=4, num_cells=1, operations=('none', 'skip_connect'))
    data = wc.data.Digits(batch_size=10, limit=240)
    evaluator = wc.SearchEvaluator(data, tester=TESTERS[tester](), max_epochs=1, **QUIET)
    strategy = wc.presets.wcnas(base, every=1, **({} if tester == 'perturbation' else {'trade_off': 0.0}))
    seen = Recording(strategy.objective)
    strategy.objective = seen
    run(strategy, make=lambda: (space, evaluator))
    losses = torch.stack(seen.losses)
    assert losses.isfinite().all()
    if base == 'gdas':
        assert (seen.spread == 0).any() and (seen.spread > 0).any(), 'both kinds of draws came'


class Recording(wc.WorstCase):
    """The objective, noting how much the logits of its images differ."""

    def __init__(self, inner):
        super().__init__(**{name: getattr(inner, name) for name in inner.__dataclass_fields__})
        object.__setattr__(self, 'losses', [])
        object.__setattr__(self, '_spread', [])

    @property
    def spread(self):
        return torch.stack(self._spread)

    def architecture_step(self, step):
        update = super().architecture_step(step)
        logits = step.learner.logits(step.val.images).detach()
        self._spread.append((logits - logits[:1]).abs().max())
        self.losses.append(update.losses['A'])
        return update
