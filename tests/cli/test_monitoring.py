"""A finished search has written down who judged its images, and shows it everywhere."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from event_reading import read_events, scalars_of

from nni_wcnas import FQGAN
from nni_wcnas.data.reference import reference_models
from nni_wcnas.files.run_directory import RunDirectory
from nni_wcnas.measure.image.image_judge import ImageJudge
from nni_wcnas.measure.image.tester_images import sample
from nni_wcnas.settings import assembly
from nni_wcnas.settings.resolved import resolved
from nni_wcnas.settings.settings import load_settings


def test_tensorboard_equals_the_table(finished: Path) -> None:
    """Every column of every epoch, and the grids."""
    run = RunDirectory(finished)
    rows = run.read_history()
    measured = {'inception_score', 'fid', 'reference_error_worst', 'auxiliary_error', 'auxiliary_real_error'}
    assert measured <= set(rows[-1])
    assert read_events(run.tensorboard) == (scalars_of(rows), {'generated': [0, 1, 2]})


def test_the_measures_are_those_of_the_last_tester(finished: Path) -> None:
    """Made again from the checkpoint with the noise that the recorder draws."""
    run = RunDirectory(finished)
    settings = load_settings(run.settings)
    data = assembly.make_data(settings)
    tester = assembly.make_tester(settings, data)
    assert isinstance(tester, FQGAN)
    state = torch.load(run.checkpoint, weights_only=True)['state_dict']
    prefix = 'training_module.tester.'
    tester.load_state_dict({key.removeprefix(prefix): state[key] for key in state if key.startswith(prefix)})
    torch.manual_seed(20240)
    tester.noise(100)  # Of the grid.
    with torch.no_grad():
        found = ImageJudge(reference_models(data, progress=False), data).measures(*sample(tester, 500, None))
    last = run.read_history()[-1]
    assert found == {name: pytest.approx(last[name], rel=1e-5) for name in found}


def test_the_extractor_is_named(finished: Path) -> None:
    """In the settings, which remain a settings file, and in the report's captions."""
    run = RunDirectory(finished)
    monitoring = run.read_settings()['monitoring']
    assert monitoring['extractor'].startswith('reference-digits-')
    assert (monitoring['fid_features'], monitoring['generated_images'], monitoring['real_images']) == (48, 500, 60)
    assert monitoring['hyperparameters'] == ['momentum', 'weight']
    settings = load_settings(run.settings)
    assert settings.monitoring == monitoring and 'monitoring' not in resolved(settings)
    report = run.report.read_text()
    for words in ('Inception score of generated images', 'FID of generated images', 'B: momentum', 'B: weight'):
        assert f'<h3>{words}</h3>' in report
    assert f'48 features of the first net of {monitoring["extractor"]}, 500 generated and 60 real images' in report
    assert 'not with Inception-v3' in report
