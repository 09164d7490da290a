"""Each measure against its formula; nothing that the search owns moves."""

import math

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from tiny_reference import untrained
from torch import nn

from nni_wcnas import FQGAN
from nni_wcnas.data import Digits
from nni_wcnas.measure.image.image_judge import ImageJudge
from nni_wcnas.tester import TimmAuxiliary, make_auxiliary

COLUMNS = ['reference_error', 'reference_error_worst', 'inception_score', 'fid']


@pytest.fixture(scope='module')
def judge():
    state = torch.get_rng_state()
    data = Digits(limit=400)
    made = ImageJudge(untrained(data), data)
    assert torch.get_rng_state().equal(state)
    return made


def images(count=150, seed=0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(10, (count,), generator=generator)
    return torch.rand(count, 3, 16, 16, generator=generator) * 2 - 1, labels


def probabilities(judge, given):
    return torch.stack([model(given).softmax(1) for model in judge.reference.models]).mean(0).double()


def pooled(judge, given):
    """Last feature maps of the narrowest net, averaged over the image."""
    net = judge.reference.models[0]
    return nn.Sequential(*list(net)[:-3])(given).mean((2, 3)).double().numpy()


def frechet(one, other):
    """Heusel et al., GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium, 2017."""
    first, second = np.cov(one, rowvar=False), np.cov(other, rowvar=False)
    shift = one.mean(0) - other.mean(0)
    return shift @ shift + np.trace(first + second - 2 * sqrtm(first @ second).real)


def test_formulas(judge):
    given, labels = images()
    found = judge.measures(given, labels)
    assert list(found) == COLUMNS
    p = probabilities(judge, given)
    wrong = p.argmax(1) != labels
    assert found['reference_error'] == pytest.approx(wrong.double().mean().item())
    assert found['reference_error'] == judge.reference.error(given, labels)
    divergence = (p * (p / p.mean(0)).log()).sum(1).mean().item()
    assert found['inception_score'] == pytest.approx(math.exp(divergence), rel=1e-9)
    expected = frechet(pooled(judge, judge.real.clean), pooled(judge, given))
    assert found['fid'] == pytest.approx(expected, rel=1e-6)
    assert judge.measures(given, labels) == found, 'earlier images do not count'
    assert judge.measures(*images(150, seed=1))['fid'] != found['fid']


def test_real_images(judge):
    assert torch.equal(judge.real.labels, torch.arange(10).repeat_interleave(20))
    found = judge.measures(judge.real.clean, judge.real.labels)
    assert found['fid'] == pytest.approx(0, abs=1e-6)
    assert found['fid'] < judge.description()['real_fid'] < judge.measures(*images())['fid']


def test_the_worst_class_of_those_with_images_enough(judge):
    real = judge.real
    guesses = probabilities(judge, real.clean).argmax(1)
    labels = torch.where(torch.arange(200) < 150, guesses, guesses.roll(1))
    labels[190:] = 7  # Some class or other has few.
    counts = labels.bincount(minlength=10)
    errors = [(guesses[labels == c] != c).double().mean().item() for c in range(10) if counts[c] >= 20]
    assert judge.measures(real.clean, labels)['reference_error_worst'] == pytest.approx(max(errors))
    assert 'reference_error_worst' not in judge.measures(*(part[:19] for part in images()))


def test_images_that_are_not_finite_have_no_distance(judge):
    given, labels = images()
    given[3] = math.nan
    found = judge.measures(given, labels)
    assert math.isnan(found['fid']) and math.isnan(found['inception_score'])
    assert math.isfinite(judge.measures(*images())['fid'])


@pytest.mark.parametrize('name', ['tied', 'resnet18'])
def test_the_auxiliary_model_is_left_as_it_was(judge, name):
    tester = FQGAN(10, image_size=16, width=4, latent=8, dictionary_size=8).double()
    auxiliary = make_auxiliary(name, tester).double()
    if isinstance(auxiliary, TimmAuxiliary):
        auxiliary.classifier.bn1.eval()
    modes = [part.training for part in auxiliary.modules()]
    before = {key: value.clone() for owner in (tester, auxiliary) for key, value in owner.state_dict().items()}
    given, labels = images()
    found = judge.measures(given.double(), labels, auxiliary)
    assert list(found) == [*COLUMNS, 'auxiliary_error', 'auxiliary_real_error']
    assert [part.training for part in auxiliary.modules()] == modes
    after = {key: value for owner in (tester, auxiliary) for key, value in owner.state_dict().items()}
    assert all(torch.equal(before[key], after[key]) for key in before)
    auxiliary.eval()
    with torch.no_grad():
        guesses = auxiliary(given.double()).argmax(1)
    assert found['auxiliary_error'] == pytest.approx((guesses != labels).double().mean().item())


def test_description(judge):
    description = judge.description()
    known = {key: value for key, value in description.items() if not key.startswith('real_i') and key != 'real_fid'}
    assert known == {
        'extractor': 'reference-none', 'classifiers': 6, 'fid_features': 48, 'auxiliary_real_images': 200,
    }
    assert description['real_images'] == 200 and 1 <= description['real_inception_score'] <= 10
