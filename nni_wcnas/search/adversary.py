"""What a worst-case search brings along for an evaluator without a tester: equation 6 of the paper needs only data."""

from __future__ import annotations

from torch import nn

from nni_wcnas.contracts import Auxiliary, Batch
from nni_wcnas.search.pixel_range import PixelRange
from nni_wcnas.tester import AugmentationPolicy, make_auxiliary

__all__ = ['Adversary']


class Adversary(nn.Module):
    """An augmentation policy, its auxiliary model, and how to read the evaluator's images.

    A part of the search's module and not of the evaluator's, whose optimiser would train it: NNI's evaluators optimise
    whatever parameters they hold. The real images are those that the learner sees, with the evaluator's augmentation.

    Parameters
    ----------
    num_classes
        Number of classes of the auxiliary model.
    has_auxiliary
        Whether there is one.
    learner
        Weights of the space's convolutions, which it follows.
    """

    def __init__(self, num_classes: int, *, has_auxiliary: bool, learner: int) -> None:
        super().__init__()
        self.tester = AugmentationPolicy(num_classes, image_size=0)
        self.auxiliary: Auxiliary | None = (
            make_auxiliary(None, self.tester, learner=learner) if has_auxiliary else None
        )
        self.pixels = PixelRange()

    def with_clean(self, batch: Batch) -> Batch:
        """The batch with its images in [-1, 1] beside those that the learner sees."""
        return batch if batch.clean is not None else batch._replace(clean=self.pixels.clean(batch.images))
