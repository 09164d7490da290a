"""Judge how good and how hard a tester's images are, by fixed classifiers no search sees and by the auxiliary model.

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

from typing import Any

import torch
from torch import Tensor

from nni_wcnas.contracts import Auxiliary, Batch
from nni_wcnas.data import ImageData
from nni_wcnas.data.reference import Reference
from nni_wcnas.functional.evaluation_mode import evaluation_mode
from nni_wcnas.functional.frozen import frozen_statistics
from nni_wcnas.functional.inception_score import inception_score
from nni_wcnas.measure.image.feature_distance import FrechetDistance
from nni_wcnas.measure.image.generated_images import label_errors

__all__ = ['ImageJudge', 'clean_images']

_REAL = 500
"""About how many real images generated ones are compared with, as many of each class."""
_VALIDATION = 300
"""About how many real images the auxiliary model is tried on, as many of each class."""


class ImageJudge:
    """Measures images; neither the search's networks nor its random state change.

    Parameters
    ----------
    reference
        The fixed classifiers of the data set.
    data
        Gives the real images without augmentation: images of the weights' half, which the tester learns from, and for
        the auxiliary model images of the architecture's half.

    Attributes
    ----------
    real
        The images of the weights' half, ordered by class. A tester that changes real images is shown these, too.
    """

    def __init__(self, reference: Reference, data: ImageData) -> None:
        self.reference = reference
        # -(-a // b) rounds up: each class gets the same number of images, and all together at least _REAL.
        self.real = data.examples('weights', -(-_REAL // data.num_classes))
        self._validation = data.examples('architecture', -(-_VALIDATION // data.num_classes))
        features = self._features(clean_images(self.real))
        self.num_features = features.shape[1]
        # The moments of the real images are computed once; each epoch brings new generated ones only.
        self._distance = FrechetDistance(features)

    def description(self) -> dict[str, Any]:
        """Describe what the numbers depend on beside the images, and what real images score, for the record."""
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
            Classes that the images should show, shape ``(N,)``.
        auxiliary
            The auxiliary model; None leaves its errors out.

        Returns
        -------
        dict
            Measures by the names of the columns of ``metrics.csv``. Errors are shares; ``reference_error_worst`` is
            missing where no class has 20 images. The distance of images that are not finite is NaN.
        """
        # The reference nets stay on the CPU: their images come to them, and numbers do not depend on the search's
        # device.
        judged = images.float().cpu()
        probabilities = self.reference.probabilities(judged).double()
        found = label_errors(probabilities, labels, 'reference_error')
        found['inception_score'] = inception_score(probabilities).item()
        found['fid'] = self._distance(self._features(judged))
        if auxiliary is not None:
            # By the images as they came: the auxiliary model is on the search's device.
            found['auxiliary_error'] = _error(auxiliary, images, labels)
            found['auxiliary_real_error'] = _error(auxiliary, clean_images(self._validation), self._validation.labels)
        return found

    def _of_real_images(self) -> dict[str, float]:
        """Score real images of the architecture's half: as much as can be expected of generated ones."""
        images = clean_images(self._validation)
        score = inception_score(self.reference.probabilities(images.float().cpu()).double())
        distance = self._distance(self._features(images))
        return {'real_inception_score': round(score.item(), 4), 'real_fid': round(distance, 4)}

    def _features(self, images: Tensor) -> Tensor:
        """Return the features of images, shape ``(N, F)``, in double precision for means and covariances."""
        return self.reference.features(images.float().cpu()).double()


def clean_images(batch: Batch) -> Tensor:
    """Return the images of a batch in [-1, 1], without augmentation, shape ``(N, 3, H, W)``.

    Raises
    ------
    ValueError
        If the batch has no clean images.
    """
    if batch.clean is None:
        raise ValueError('The batch has no clean images; take one of ImageData')
    return batch.clean


def _error(auxiliary: Auxiliary, images: Tensor, labels: Tensor) -> float:
    """Return the share of images that the auxiliary model does not give their labels."""
    # Images follow the model to its device and precision.
    like = next(auxiliary.parameters())
    with evaluation_mode(auxiliary), frozen_statistics(auxiliary):
        found = torch.cat([auxiliary(part.to(like)).argmax(1) for part in images.split(100)])
    return (found != labels.to(found.device)).double().mean().item()
