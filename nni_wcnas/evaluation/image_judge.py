"""How good and how hard a tester's images are, by fixed classifiers that no search sees, and by the auxiliary model.

Pseudo-code, for N images x with labels y::

    p(class | x)           = mean over the reference nets of their softmax
    reference_error        = share of argmax p != y; reference_error_worst: of the class where it is highest
    inception_score        = exp(mean KL(p(class | x) from p(class)))
    fid                    = |m - m'|^2 + trace(C + C' - 2 (C C')^(1/2)),  m, C: mean and covariance of the pooled
                             features of the first reference net, for generated and for fixed real images
    auxiliary_error        = the auxiliary model's error on (x, y); auxiliary_real_error: on real validation images

The reference nets are small and made for one data set: score and distance compare within one data set and one
extractor, which the record names, and never with those of Inception-v3. Both depend on the number of images, too.

Cost: one forward pass of N small images through the reference nets and through the auxiliary model.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance

from nni_wcnas.contracts import Auxiliary, Batch
from nni_wcnas.data import ImageData
from nni_wcnas.data.reference import Reference
from nni_wcnas.functional.frozen import frozen_statistics
from nni_wcnas.functional.inception_score import inception_score

__all__ = ['ImageJudge']

_REAL = 500
"""Real images that generated ones are compared with, about, of all classes alike."""
_VALIDATION = 300
"""Real images that the auxiliary model is tried on, about."""
_OF_A_CLASS = 20
"""Images that a class needs to have an error of its own."""


class ImageJudge:
    """Measures images; neither the search's networks nor its random state change.

    Parameters
    ----------
    reference
        The fixed classifiers of the data set.
    data
        Gives the real images, without augmentation: those of the weights' half that the tester learns from, and for the
        auxiliary model some of the architecture's half.

    Attributes
    ----------
    real
        The images of the weights' half, ordered by class: also what a tester that changes real images is shown.
    """

    def __init__(self, reference: Reference, data: ImageData) -> None:
        self.reference = reference
        self.real = data.examples('weights', -(-_REAL // data.num_classes))
        self._validation = data.examples('architecture', -(-_VALIDATION // data.num_classes))
        features = self._features(_clean(self.real))
        self.num_features = features.shape[1]
        passed_on = nn.Identity()  # torchmetrics gets features where it would compute them.
        passed_on.num_features = self.num_features  # type: ignore[assignment]
        self._distance = FrechetInceptionDistance(passed_on, reset_real_features=False)
        self._distance.update(features, real=True)

    def description(self) -> dict[str, Any]:
        """What the numbers depend on beside the images, and what real images score, for the record."""
        return {
            'extractor': self.reference.name,
            'classifiers': len(self.reference.models),
            'fid_features': self.num_features,
            'real_images': len(self.real.labels),
            'auxiliary_real_images': len(self._validation.labels),
            **self._of_real_images(),
        }

    @torch.no_grad()
    def measures(self, images: Tensor, labels: Tensor, auxiliary: Auxiliary | None = None) -> dict[str, float]:
        """Measure images.

        Parameters
        ----------
        images
            In [-1, 1], shape ``(N, 3, H, W)``, N at least 2, on the search's device.
        labels
            What they should be, shape ``(N,)``.
        auxiliary
            The auxiliary model; None leaves its errors out.

        Returns
        -------
        dict
            By the names of the columns of ``metrics.csv``. Errors are shares; no ``reference_error_worst`` where no
            class has 20 images. The distance of images that are not finite is NaN.
        """
        judged = images.float().cpu()
        probabilities = self.reference.probabilities(judged).double()
        is_wrong = probabilities.argmax(1) != labels.cpu()
        found = {'reference_error': is_wrong.double().mean().item()}
        found |= _worst_class(is_wrong, labels.cpu())
        found |= {'inception_score': inception_score(probabilities).item(), 'fid': self._fid(judged)}
        if auxiliary is not None:
            found['auxiliary_error'] = _error(auxiliary, images, labels)
            found['auxiliary_real_error'] = _error(auxiliary, _clean(self._validation), self._validation.labels)
        return found

    def _of_real_images(self) -> dict[str, float]:
        """What images of the other half score: as much as can be expected of generated ones."""
        images = _clean(self._validation)
        score = inception_score(self.reference.probabilities(images.float().cpu()).double())
        return {'real_inception_score': round(score.item(), 4), 'real_fid': round(self._fid(images), 4)}

    def _features(self, images: Tensor) -> Tensor:
        """In double precision, in which means and covariances are computed."""
        return self.reference.features(images.float().cpu()).double()

    def _fid(self, images: Tensor) -> float:
        """Distance from the real images."""
        features = self._features(images)
        if not features.isfinite().all():
            return math.nan
        self._distance.reset()  # Of the generated images alone.
        self._distance.update(features, real=False)
        return self._distance.compute().item()


def _clean(batch: Batch) -> Tensor:
    """Its images in [-1, 1]."""
    if batch.clean is None:
        raise ValueError('The batch has no clean images; take one of ImageData')
    return batch.clean


def _worst_class(is_wrong: Tensor, labels: Tensor) -> dict[str, float]:
    """The highest error of a class that has images enough."""
    counts = labels.bincount()
    errors = labels.bincount(is_wrong.double()) / counts
    return {'reference_error_worst': errors[counts >= _OF_A_CLASS].max().item()} if counts.max() >= _OF_A_CLASS else {}


def _error(auxiliary: Auxiliary, images: Tensor, labels: Tensor) -> float:
    """Share of images that the auxiliary model does not give their labels."""
    like = next(auxiliary.parameters())
    with _evaluating(auxiliary), frozen_statistics(auxiliary):
        found = torch.cat([auxiliary(part.to(like)).argmax(1) for part in images.split(100)])
    return (found != labels.to(found.device)).double().mean().item()


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """In evaluation mode; each part is put back into its own."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode
