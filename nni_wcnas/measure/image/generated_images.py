"""Measure how realistic, diverse and recognisable a set of generated images is: table 20 of papers/wcnas, and more.

::

    fid, kid              distance from real images, by features        0 is best; see :mod:`.feature_distance`
    precision, recall     share of generated (real) images that real (generated) ones cover, by features
    inception_score       exp(mean KL(p(class | image) from p(class)))   from 1 to the number of classes
    label_error           share of images that are not classified as their label; label_error_worst: of the worst class

All depend on the extractor and on the numbers of images: compare only what has the same of both. The paper's numbers
are Inception-v3's, of which the weights are a file of their own (:func:`.inception_extractor`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from nni_wcnas.functional.inception_score import inception_score
from nni_wcnas.functional.precision_recall import precision_recall
from nni_wcnas.measure.image.extractor import Extractor
from nni_wcnas.measure.image.feature_distance import FrechetDistance, kernel_distance

__all__ = ['describe', 'label_errors', 'measure_images']

_OF_A_CLASS = 20
"""Fewest images of a class that give it an error of its own: of fewer the worst class would be a matter of chance."""


def measure_images(
    generated: Tensor, labels: Tensor, real: Tensor, extractor: Extractor, *, seed: int = 0
) -> dict[str, float]:
    """Compare generated images with real ones; torch's global random state stays as it was.

    Parameters
    ----------
    generated
        In [-1, 1], shape ``(N, 3, H, W)``, as testers make them.
    labels
        Classes that the generated images should show, shape ``(N,)``.
    real
        In [-1, 1], shape ``(M, 3, H, W)``, e.g. ``data.examples('train', 500).clean``.
    extractor
        The network that describes the images; see :mod:`nni_wcnas.measure.image.extractor`.
    seed
        Seed of the random subsets of KID.

    Returns
    -------
    dict
        ``fid``, ``kid``, ``precision``, ``recall``; from an extractor that classifies ``inception_score``, and from one
        that knows the labels ``label_error`` and, if a class has 20 images, ``label_error_worst``; and the counts
        ``generated_images``, ``real_images`` and ``image_features``.

    Raises
    ------
    ValueError
        If there are not as many labels as generated images, either set has too few images for the covariance of the
        features (one more than there are features), or the features are not finite.

    References
    ----------
    papers/wcnas, appendix B.6.
    """
    if len(labels) != len(generated):
        raise ValueError(f'There are {len(generated)} images and {len(labels)} labels: give one label for each image')
    # (N, F) and (M, F), in double precision: covariances and their square root lose too much in single precision.
    features, real_features = (extractor.features(images.float()).double() for images in (generated, real))
    _check(features, real_features, extractor.name)
    # Real images first: precision is the share of the second set that the first one covers.
    precision, recall = precision_recall(real_features, features)
    measures = {
        'fid': FrechetDistance(real_features)(features),
        'kid': kernel_distance(features, real_features, seed=seed),
        'precision': precision,
        'recall': recall,
    }
    if extractor.probabilities is not None:
        probabilities = extractor.probabilities(generated.float()).double()
        measures['inception_score'] = inception_score(probabilities).item()
        # Inception's classes are ImageNet's: they give a score, but cannot be compared with the labels.
        if extractor.knows_labels:
            measures |= label_errors(probabilities, labels, 'label_error')
    counts = {'generated_images': len(generated), 'real_images': len(real), 'image_features': features.shape[1]}
    return measures | {name: float(count) for name, count in counts.items()}


def describe(measures: Mapping[str, float], extractor: Extractor) -> dict[str, Any]:
    """Describe what measures of :func:`measure_images` depend on beside the images, for the record."""
    counts = {name: int(measures[name]) for name in ('generated_images', 'real_images', 'image_features')}
    return {'extractor': extractor.name, **counts}


def label_errors(probabilities: Tensor, labels: Tensor, name: str) -> dict[str, float]:
    """Count how often images are not classified as their label.

    Parameters
    ----------
    probabilities
        Probabilities of the classes for each image, shape ``(N, C)``.
    labels
        Class that each image should show, shape ``(N,)``.
    name
        Name of the error in the result.

    Returns
    -------
    dict
        Under ``name`` the share of all images, and under ``{name}_worst`` the highest share within a class. Only
        classes with at least 20 images count for the latter; it is missing where there are none.
    """
    labels = labels.to(probabilities.device)
    is_wrong = (probabilities.argmax(1) != labels).double()
    counts = labels.bincount()
    # The second bincount sums the wrong images of each class. A class without images gives 0 / 0 and is left out with
    # the small ones.
    errors = (labels.bincount(is_wrong) / counts)[counts >= _OF_A_CLASS]
    worst = {f'{name}_worst': errors.max().item()} if len(errors) else {}
    return {name: is_wrong.mean().item()} | worst


def _check(features: Tensor, real: Tensor, name: str) -> None:
    """Raise ValueError where the distance of these features is undefined.

    F + 1 points are the fewest whose covariance can have full rank F.
    """
    needed = features.shape[1] + 1
    for kind, found in (('generated', features), ('real', real)):
        if len(found) < needed:
            raise ValueError(
                f'There are {len(found)} {kind} images, but {name} has {needed - 1} features, whose covariance takes '
                f'at least {needed} images: give more images, or an extractor of fewer features'
            )
        if not found.isfinite().all():
            raise ValueError(f'The features of the {kind} images by {name} are not finite: look at the images')
