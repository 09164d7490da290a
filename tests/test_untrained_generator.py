"""A search that begins with images of a generator that nobody has trained says so, once."""

from __future__ import annotations

import logging

import pytest
from worst_case_search import make_parts

import nni_wcnas as wc
from nni_wcnas.contracts import Batch
from nni_wcnas.search.evaluator_parts import bring_tester
from nni_wcnas.tester import pretrain


def warnings(caplog: pytest.LogCaptureFixture, strategy: wc.Search, tester: wc.FQGAN | None = None) -> list[str]:
    """What the strategy says of the tester."""
    caplog.clear()
    _, evaluator = make_parts(tester=tester)
    with caplog.at_level(logging.WARNING, 'nni_wcnas'):
        bring_tester(strategy.objective, evaluator, None, learner_weights=0)
    return [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize(('strategy', 'objective'), [
    (wc.presets.wcnas(), 'WorstCase'),
    (wc.presets.darts(objective=wc.SelectedExamples(pairs=64)), 'SelectedExamples'),
    (wc.presets.dasgm(objective=wc.SynthesizedValidation(trains_tester=False)), 'SynthesizedValidation'),
])
def test_one_sentence(caplog, strategy, objective):
    (line,) = warnings(caplog, strategy)
    assert line == (f'the generator of this FQGAN was never trained, so that {objective} begins with images of noise: '
                    'give the tester `pretrained: auto` in settings, or a file of `nni-wcnas pretrain`')


def test_silence_where_it_is_trained_or_meant_to_begin_so(caplog, tmp_path):
    assert not warnings(caplog, wc.presets.dasgm())
    tester = wc.FQGAN(10, image_size=16, width=4, latent=8, dictionary_size=8)
    tester.save(tmp_path / 'tester.pt')
    read = wc.FQGAN(10, image_size=16, width=4, latent=8, dictionary_size=8, pretrained=tmp_path / 'tester.pt')
    data = wc.data.Digits(batch_size=8, limit=64)

    def batches(epoch: int) -> list[Batch]:
        return list(data.train_dataloader())

    pretrain(tester, None, batches, 1, discriminator_steps=1, progress=False)
    for known in (tester, read):
        assert not warnings(caplog, wc.presets.wcnas(), known)
