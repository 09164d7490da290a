"""Measure how far generated images are from real ones, by the features that some network has of them: FID and KID.

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
    """A function from features of generated images to their distance FID from fixed real images.

    Parameters
    ----------
    real
        Features of the real images, shape ``(N, F)``, N at least 2; in double precision.
    """

    def __init__(self, real: Tensor) -> None:
        self._is_finite = bool(real.isfinite().all())
        passed_on = nn.Identity()  # torchmetrics gets features where it would compute them.
        passed_on.num_features = real.shape[1]  # type: ignore[assignment]
        # reset() forgets real features by default; here they are kept for all calls.
        self._metric = FrechetInceptionDistance(passed_on, reset_real_features=False).to(real.device)
        self._metric.update(real, real=True)

    def __call__(self, features: Tensor) -> float:
        """Return the FID of generated images with these features, shape ``(M, F)``, M at least 2.

        It is NaN if features of either kind are not finite.
        """
        if not (self._is_finite and features.isfinite().all()):
            return math.nan
        self._metric.reset()  # Forgets the generated images alone.
        self._metric.update(features, real=False)
        return self._metric.compute().item()


def kernel_distance(
    features: Tensor, real: Tensor, *, subsets: int = 100, subset_size: int = 1000, seed: int = 0
) -> float:
    """Estimate the distance KID; torch's global random state stays as it was.

    Parameters
    ----------
    features, real
        Features of generated and of real images, shape ``(M, F)`` and ``(N, F)``, in double precision.
    subsets
        How many random subsets the mean is over.
    subset_size
        How many images of either kind a subset has, at least 2; where there are fewer images, all of them.
    seed
        Seed of the draw of the subsets.

    Returns
    -------
    float
        The estimate, which is unbiased and therefore can be below 0; NaN if features of either kind are not finite.
    """
    if not (features.isfinite().all() and real.isfinite().all()):
        return math.nan
    # torchmetrics warns of the memory that all features take.
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', message='Metric `Kernel Inception Distance` will save all extracted features')
        size = min(subset_size, len(features), len(real))
        metric = KernelInceptionDistance(nn.Identity(), subsets=subsets, subset_size=size)
    metric.update(real, real=True)
    metric.update(features, real=False)
    # torchmetrics draws its subsets from torch's global generator of the CPU: it is seeded here and put back.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # Not torch.manual_seed, which would reseed the accelerators as well.
        mean, _ = metric.compute()
    return mean.item()
