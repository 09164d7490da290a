"""The auxiliary model that follows the learner."""

import pytest
import torch
from nni.nas.hub.pytorch import ProxylessNAS

from nni_wcnas.spaces import DARTS, NASBench201
from nni_wcnas.tester import (
    AugmentationPolicy,
    TimmAuxiliary,
    convolution_weights,
    fitting_width,
    follows_learner,
    make_auxiliary,
)
from nni_wcnas.tester.fq_gan import FQGAN

SPACES = {
    'nasbench201': lambda classes: NASBench201(width=8, num_cells=1, num_classes=classes),
    'darts_8': lambda classes: DARTS(width=8, num_cells=8, num_classes=classes),
    'darts_16': lambda classes: DARTS(width=16, num_cells=8, num_classes=classes),
    'proxylessnas': lambda classes: ProxylessNAS(num_labels=classes),
}


def small(learner=None, **options):
    policy = AugmentationPolicy(10, image_size=16)
    return make_auxiliary({'name': 'small_resnet', **options}, policy, learner=learner)


WIDTHS = {'nasbench201': 4, 'darts_8': 7, 'darts_16': 13, 'proxylessnas': 49}


@pytest.mark.parametrize(('space', 'width'), WIDTHS.items())
def test_a_fifth_of_the_learners_weights(space, width):
    """Within what one channel more or less makes, whatever the number of classes."""
    learner = convolution_weights(SPACES[space](10))
    assert learner == convolution_weights(SPACES[space](100)) and fitting_width(learner) == width
    own = convolution_weights(small(learner))
    assert own <= 1.03 * learner / 5 and own >= learner / 5 * ((width - 1) / (width + 1)) ** 2


@pytest.mark.parametrize('width', [2, 3, 4, 9, 16])
def test_weights_grow_with_the_square_of_the_width(width):
    model = small(width=width)
    assert isinstance(model, TimmAuxiliary)
    assert convolution_weights(model) == pytest.approx(1200 * width**2, rel=0.06)
    assert model.forward(torch.randn(2, 3, 16, 16)).shape == (2, 10)


def test_the_least_width():
    assert fitting_width(0) == fitting_width(149_999) == 4 and fitting_width(150_000) == 5


def test_when_it_follows():
    assert follows_learner(None, AugmentationPolicy) and follows_learner('small_resnet', FQGAN)
    assert not follows_learner(None, FQGAN) and not follows_learner('resnet18', AugmentationPolicy)
    assert not follows_learner({'width': 8}, AugmentationPolicy)


def test_refused():
    policy = AugmentationPolicy(10, image_size=16)
    with pytest.raises(ValueError, match='width of small_resnet follows the learner, which is not known here; give'):
        make_auxiliary(None, policy)
    with pytest.raises(ValueError, match="width=8 is of small_resnet, and 'resnet18' has none; leave it out"):
        make_auxiliary({'name': 'resnet18', 'width': 8}, policy)
    with pytest.raises(ValueError, match='width must be at least 2 channels, or left out to follow the learner, not 1'):
        small(width=1)
    with pytest.raises(ValueError, match='width must be at least 2 channels, or left out to follow the learner, not 0'):
        make_auxiliary({'width': 0}, policy)
