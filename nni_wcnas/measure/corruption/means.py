"""The three means of a network's errors under corruptions, which must not be mixed up.

For the error E(c, s) under corruption c at severity s, and A(c, s) of a baseline::

    mean_error                       mean over c and s of E(c, s)                                       CIFAR-10-C
    mean_corruption_error            mean over c of  sum_s E(c, s) / sum_s A(c, s)                      ImageNet-C
    relative_mean_corruption_error   mean over c of  sum_s (E(c, s) - E) / sum_s (A(c, s) - A)          ImageNet-C

where E and A are the errors on clean images. All are shares: a mCE of 0.767 is what papers call 76.7.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from statistics import fmean

from nni_wcnas.measure.corruption.errors import CorruptionErrors
from nni_wcnas.measure.corruption.severity import BENCHMARK, SEVERITIES, Scale

__all__ = ['ALEXNET_CLEAN_ERROR', 'ALEXNET_ERRORS', 'mean_corruption_error', 'mean_error',
           'relative_mean_corruption_error']

# Of the benchmark's 15 types only: a mean relative to AlexNet leaves the four validation types out.
ALEXNET_ERRORS: Mapping[str, float] = {
    'gaussian_noise': 0.886428, 'shot_noise': 0.894468, 'impulse_noise': 0.922640,
    'defocus_blur': 0.819880, 'glass_blur': 0.826268, 'motion_blur': 0.785948, 'zoom_blur': 0.798360,
    'snow': 0.866816, 'frost': 0.826572, 'fog': 0.819324, 'brightness': 0.564592,
    'contrast': 0.853204, 'elastic_transform': 0.646056, 'pixelate': 0.717840, 'jpeg_compression': 0.606500,
}
"""AlexNet's errors on ImageNet-C, each the mean of five severities, as published (hendrycks/robustness)."""

ALEXNET_CLEAN_ERROR = 0.435
"""AlexNet's error on ImageNet's validation images, as in Hendrycks and Dietterich, 2019, table 1."""


def mean_error(errors: CorruptionErrors, names: Sequence[str] = BENCHMARK) -> float:
    """Average the errors of all corruptions and severities with equal weights: the convention of CIFAR-10-C.

    Parameters
    ----------
    errors
        Measured at the scale ``'cifar'``, all five severities.
    names
        Corruptions to average; others are left out.

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    ValueError
        If the scale is another, or a corruption or severity is missing.
    """
    _check_scale(errors, 'cifar', 'mean_corruption_error')
    return fmean(_by_name(errors, names).values())


def mean_corruption_error(errors: CorruptionErrors, baseline: Mapping[str, float] = ALEXNET_ERRORS) -> float:
    """Average each corruption's error relative to a baseline's: the mCE of ImageNet-C.

    Parameters
    ----------
    errors
        Measured at the scale ``'imagenet'``, all five severities.
    baseline
        Error of each corruption, mean of five severities, in (0, 1].

    Returns
    -------
    float
        1 for the baseline, less for a better network.

    Raises
    ------
    ValueError
        If the scale is another, or one of the baseline's corruptions or a severity is missing.
    """
    _check_scale(errors, 'imagenet', 'mean_error')
    # Both are means of five severities, so their quotient is that of the sums in the definition. Dividing before
    # averaging is the point of the mCE: hard corruptions do not dominate.
    return fmean(error / baseline[name] for name, error in _by_name(errors, baseline).items())


def relative_mean_corruption_error(errors: CorruptionErrors, clean_error: float,
                                   baseline: Mapping[str, float] = ALEXNET_ERRORS,
                                   baseline_clean_error: float = ALEXNET_CLEAN_ERROR) -> float:
    """Average by how much each corruption raises the error, relative to a baseline's rise: the relative mCE.

    Parameters
    ----------
    errors, baseline
        As for :func:`mean_corruption_error`.
    clean_error, baseline_clean_error
        Errors of the network and of the baseline on clean images, in [0, 1].

    Returns
    -------
    float
        1 for the baseline, less for a network that corruptions harm less.

    Raises
    ------
    ValueError
        As :func:`mean_corruption_error`; or if a corruption does not raise the baseline's error.
    """
    _check_scale(errors, 'imagenet', 'mean_error')
    # Each rise of the baseline is a denominator below.
    for name, error in baseline.items():
        if error <= baseline_clean_error:
            raise ValueError(
                f"The baseline's error under {name} is {error}, not above its error {baseline_clean_error} on clean "
                'images; give both as shares, of one network.'
            )
    return fmean((error - clean_error) / (baseline[name] - baseline_clean_error)
                 for name, error in _by_name(errors, baseline).items())


def _check_scale(errors: CorruptionErrors, scale: Scale, other: str) -> None:
    """Raise ValueError unless the errors were measured at this scale."""
    if errors.scale != scale:
        raise ValueError(
            f'The errors were measured at the scale {errors.scale!r}, but this mean is for {scale!r}; use {other}.'
        )


def _by_name(errors: CorruptionErrors, names: Collection[str]) -> dict[str, float]:
    """Average the errors of each of these corruptions over the five severities.

    Raises
    ------
    ValueError
        If there are no names, or an error is missing.
    """
    if not names:
        raise ValueError('The mean of no corruption is undefined; name at least one.')
    # A corruption that is missing as a whole gives its bare name once a severity: dict.fromkeys names it once.
    missing = [f'{name} at severity {severity}' if name in errors else name
               for name in names for severity in SEVERITIES if severity not in errors.get(name, {})]
    if missing:
        raise ValueError(f'The mean needs errors that are missing: {", ".join(dict.fromkeys(missing))}; measure them.')
    return {name: fmean(errors[name][severity] for severity in SEVERITIES) for name in names}
