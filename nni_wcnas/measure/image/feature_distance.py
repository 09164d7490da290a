"""How far generated images are from real ones, by the features that some network has of them: FID and KID.

With m, C the mean and covariance of N features, and k(a, b) = (a . b / F + 1)^3::

    FID = |m - m'|^2 + trace(C + C' - 2 (C C')^(1/2))
    KID = mean k over pairs of real ones + mean k over pairs of generated ones - 2 mean k over all mixed pairs

KID is the mean over random subsets of equal size; its expectation does not depend on the number of images, that of FID
does. Both are 0 for equal distributions; neither compares between two networks.

References
----------
Heusel et al., "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium", NeurIPS 2017;
Bińkowski et al., "Demystifying MMD GANs", ICLR 2018. Computed by torchmetrics.
"""

from __future__ import annotations

import math
import warnings

import torch
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

__all__ = ['FrechetDistance', 'kernel_distance']


class FrechetDistance:
    """The distance FID from fixed real images.

    Parameters
    ----------
    real
        Their features, shape ``(N, F)``, N at least 2; in double precision.
    """

    def __init__(self, real: Tensor) -> None:
        passed_on = nn.Identity()  # torchmetrics gets features where it would compute them.
        passed_on.num_features = real.shape[1]  # type: ignore[assignment]
        self._metric = FrechetInceptionDistance(passed_on, reset_real_features=False).to(real.device)
        self._metric.update(real, real=True)

    def __call__(self, features: Tensor) -> float:
        """FID of generated images with these features, shape ``(M, F)``, M at least 2; NaN if they are not finite."""
        if not features.isfinite().all():
            return math.nan
        self._metric.reset()  # Of the generated images alone.
        self._metric.update(features, real=False)
        return self._metric.compute().item()


def kernel_distance(
    features: Tensor, real: Tensor, *, subsets: int = 100, subset_size: int = 1000, seed: int = 0
) -> float:
    """KID; torch's global random state stays as it was.

    Parameters
    ----------
    features, real
        Of generated and of real images, shape ``(M, F)`` and ``(N, F)``, in double precision.
    subsets
        Random subsets that the mean is over.
    subset_size
        Images of either kind in each, at least 2; fewer where there are fewer.
    seed
        Names the subsets.

    Returns
    -------
    float
        Also below 0, as the estimate is unbiased; NaN if the features are not finite.
    """
    if not features.isfinite().all():
        return math.nan
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', message='Metric `Kernel Inception Distance` will save all extracted features')
        size = min(subset_size, len(features), len(real))
        metric = KernelInceptionDistance(nn.Identity(), subsets=subsets, subset_size=size)
    metric.update(real, real=True)
    metric.update(features, real=False)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # Not torch.manual_seed, which would reseed the accelerators as well.
        mean, _ = metric.compute()
    return mean.item()
