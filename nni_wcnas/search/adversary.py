"""The tester of a worst-case search whose evaluator has none: equation 6 of papers/wcnas needs nothing but data."""

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
        Whether there is an auxiliary model.
    learner
        Number of weights of the space's convolutions, which the width of the auxiliary model follows.
    """

    def __init__(self, num_classes: int, *, has_auxiliary: bool, learner: int) -> None:
        super().__init__()
        # Size 0 takes images of any size: a stock evaluator does not tell how large its images are.
        self.tester = AugmentationPolicy(num_classes, image_size=0)
        self.auxiliary: Auxiliary | None = (
            make_auxiliary(None, self.tester, learner=learner) if has_auxiliary else None
        )
        # How a stock evaluator normalises is not known: it is read off the first batch.
        self.pixels = PixelRange()

    def with_clean(self, batch: Batch) -> Batch:
        """Return the batch with its images in [-1, 1] beside those that the learner sees."""
        return batch if batch.clean is not None else batch._replace(clean=self.pixels.clean(batch.images))
