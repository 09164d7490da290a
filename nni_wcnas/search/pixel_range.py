"""From the input of a learner, whose normalisation is not known, to pixels in [-1, 1] and back."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nni_wcnas.functional.image_range import signed_to_unit

__all__ = ['PixelRange']


class PixelRange(nn.Module):
    """The affine map that takes the range of each channel of one batch to [-1, 1].

    A normalisation by mean and deviation of each channel, as all of torchvision's, is undone exactly by a batch in
    which each channel has a black and a full pixel, and almost by any other of some size. The range is kept in buffers,
    so that a resumed search reads images as before.
    """

    low: Tensor
    high: Tensor

    def __init__(self) -> None:
        super().__init__()
        # NaN marks a range that is not known; a buffer, as a checkpoint must tell whether it is.
        for name in ('low', 'high'):
            self.register_buffer(name, torch.full((1, 3, 1, 1), torch.nan))
        # A plain flag beside the buffers: reading a tensor on each batch would make the processor wait for a GPU.
        self._is_known = False

    def fit(self, images: Tensor) -> None:
        """Take the range from a batch of shape ``(N, 3, H, W)``, unless it is known already.

        Raises
        ------
        ValueError
            If the batch holds no finite images of three channels.
        """
        if not self._is_known and bool(self.low.isnan().any()):
            # A network may take several tensors: an evaluator's batch is then a list or a map of them.
            is_tensor = isinstance(images, Tensor)
            if not is_tensor or images.dim() != 4 or images.shape[1] != 3 or not images.isfinite().all():
                kind = type(images).__name__
                found = f'of shape {tuple(images.shape)}' if is_tensor else f'whose inputs are a {kind}'
                raise ValueError(
                    f'The worst-case objective changes images of shape (N, 3, H, W) with finite pixels, and this '
                    f'evaluator has batches {found}: convert the images, or use objective=AverageCase()'
                )
            # Both of shape (1, 3, 1, 1), over the batch and all places.
            low, high = images.amin((0, 2, 3), True), images.amax((0, 2, 3), True)
            self.low.copy_(low)
            self.high.copy_(torch.where(high > low, high, low + 1))  # A channel of one value is black.
        self._is_known = True

    def clean(self, images: Tensor) -> Tensor:
        """Return pixels in [-1, 1]; values outside the known range are clamped."""
        # 2 (x - low) / (high - low) - 1. A later batch may go beyond the first one's range.
        return (2 * (images - self.low) / (self.high - self.low) - 1).clamp(-1, 1)

    def renormalise(self, images: Tensor) -> Tensor:
        """Return images as the learner sees them, from pixels in [-1, 1]; the inverse of :meth:`clean` within the
        range."""
        return self.low + signed_to_unit(images) * (self.high - self.low)
