"""The three means against sums by hand and the published numbers of a ResNet-50."""

import pytest

from nni_wcnas.measure.corruption import (
    ALEXNET_CLEAN_ERROR,
    ALEXNET_ERRORS,
    BENCHMARK,
    NAMES,
    SEVERITIES,
    CorruptionErrors,
    mean_corruption_error,
    mean_error,
    relative_mean_corruption_error,
)

RESNET50 = dict(zip(BENCHMARK, (79.8, 81.6, 82.6, 74.7, 88.6, 78.0, 79.9, 77.8, 74.8, 66.1, 56.6, 71.4, 84.8, 76.9,
                                76.8)))
"""Its corruption errors relative to AlexNet's, in per cent: Hendrycks and Dietterich, 2019, table 1."""


def table(errors, scale):
    """The same error at each severity but for a tilt that leaves the mean."""
    return CorruptionErrors({name: {severity: error + 0.01 * (severity - 3) for severity in SEVERITIES}
                             for name, error in errors.items()}, scale=scale)


def test_mean_error_by_hand():
    errors = table({name: 0.1 + 0.02 * place for place, name in enumerate(NAMES)}, 'cifar')
    assert mean_error(errors) == pytest.approx(0.1 + 0.02 * 7)
    assert mean_error(errors, NAMES) == pytest.approx(0.1 + 0.02 * 9)
    assert mean_error(errors, ('shot_noise',)) == pytest.approx(0.12)


def test_alexnet_is_the_unit():
    assert set(ALEXNET_ERRORS) == set(BENCHMARK)
    assert mean_corruption_error(table(ALEXNET_ERRORS, 'imagenet')) == pytest.approx(1)
    assert relative_mean_corruption_error(table(ALEXNET_ERRORS, 'imagenet'), ALEXNET_CLEAN_ERROR) == pytest.approx(1)


def test_a_published_network():
    """ResNet-50: mCE 76.7, relative mCE 105.0, clean error 23.9; brightness 31.98, contrast 60.94 by themselves."""
    errors = {name: RESNET50[name] / 100 * ALEXNET_ERRORS[name] for name in BENCHMARK}
    assert errors['brightness'] == pytest.approx(1 - 0.6802, abs=3e-4)
    assert errors['contrast'] == pytest.approx(1 - 0.3906, abs=5e-4)
    assert mean_corruption_error(table(errors, 'imagenet')) == pytest.approx(0.767, abs=5e-4)
    assert relative_mean_corruption_error(table(errors, 'imagenet'), 0.239) == pytest.approx(1.05, abs=0.005)


def test_another_baseline():
    errors = table({'fog': 0.3, 'snow': 0.4}, 'imagenet')
    assert mean_corruption_error(errors, {'fog': 0.6, 'snow': 0.5}) == pytest.approx((0.5 + 0.8) / 2)
    assert relative_mean_corruption_error(errors, 0.2, {'fog': 0.6, 'snow': 0.5}, 0.4) == pytest.approx((0.5 + 2) / 2)


def test_the_conventions_do_not_mix():
    cifar, imagenet = (table(ALEXNET_ERRORS, scale) for scale in ('cifar', 'imagenet'))
    with pytest.raises(ValueError, match="scale 'imagenet', but this mean is for 'cifar'; use mean_corruption_error"):
        mean_error(imagenet)
    with pytest.raises(ValueError, match="scale 'cifar', but this mean is for 'imagenet'; use mean_error"):
        mean_corruption_error(cifar)
    with pytest.raises(ValueError, match="scale 'cifar', but this mean is for 'imagenet'; use mean_error"):
        relative_mean_corruption_error(cifar, 0.2)


def test_what_is_missing_is_named():
    errors = {name: error for name, error in ALEXNET_ERRORS.items() if name not in ('fog', 'snow')}
    with pytest.raises(ValueError, match='that are missing: snow, fog; measure them'):
        mean_error(table(errors, 'cifar'))
    with pytest.raises(ValueError, match='that are missing: snow, fog; measure them'):
        mean_corruption_error(table(errors, 'imagenet'))
    partial = table(ALEXNET_ERRORS, 'cifar')
    del partial['frost'][2], partial['frost'][5]
    with pytest.raises(ValueError, match='missing: frost at severity 2, frost at severity 5'):
        mean_error(partial)
    with pytest.raises(ValueError, match='mean of no corruption'):
        mean_error(partial, ())
    with pytest.raises(ValueError, match='missing: spatter'):
        mean_error(table(ALEXNET_ERRORS, 'cifar'), ('spatter',))


def test_a_baseline_that_cannot_be_one():
    with pytest.raises(ValueError, match='under brightness is 0.564592, not above its error 0.6 on clean images'):
        relative_mean_corruption_error(table(ALEXNET_ERRORS, 'imagenet'), 0.2, baseline_clean_error=0.6)
