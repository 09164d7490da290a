"""The training transform of the papers: random crop, horizontal flip, colours, normalise, cutout.

Every operation draws from a stream of its own, so that switching one off leaves the others as they were. Most of them
work on whole batches. Those of torchvision and timm work on one image after the other, each with a seed of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms import v2

from .seeding import derive_generator, seeded_globals

__all__ = ['Augmentation', 'crop', 'cutout', 'flip', 'normalise']


def crop(images: Tensor, offsets: Tensor, padding: int) -> Tensor:
    """Shift each image inside a frame of zeros, as ``torchvision.transforms.RandomCrop(H, padding=padding)``.

    Parameters
    ----------
    images
        Shape ``(B, C, H, W)``, any dtype.
    offsets
        Top and left corner in the padded image, shape ``(B, 2)``, in ``[0, 2 * padding]``.
    padding
        Width of the frame, pixels.

    Returns
    -------
    Tensor
        Shape ``(B, C, H, W)``.
    """
    height, width = images.shape[-2:]
    # All windows are read in one indexing. Reading them one by one would take B kernels on a GPU.
    padded = F.pad(images, [padding] * 4)
    count, channels = (torch.arange(size, device=images.device) for size in images.shape[:2])
    rows = offsets[:, 0, None] + torch.arange(height, device=images.device)  # (B, H)
    columns = offsets[:, 1, None] + torch.arange(width, device=images.device)  # (B, W)
    # The four indices broadcast to (B, C, H, W).
    return padded[
        count[:, None, None, None], channels[None, :, None, None], rows[:, None, :, None], columns[:, None, None, :]
    ]


def flip(images: Tensor, mirrored: Tensor) -> Tensor:
    """Mirror left and right the images ``(B, C, H, W)`` for which ``mirrored`` ``(B,)`` is true."""
    # (B,) -> (B, 1, 1, 1). Both versions are computed: choosing rows by a mask would make a GPU wait for their number.
    return torch.where(mirrored[:, None, None, None], images.flip(-1), images)


def cutout(images: Tensor, centres: Tensor, length: int) -> Tensor:
    """Set to 0 a square of each image, clipped at the borders (DeVries & Taylor, 2017).

    Parameters
    ----------
    images
        Shape ``(B, C, H, W)``, normalised, so that 0 is the mean colour.
    centres
        Row and column of the centre of the square, shape ``(B, 2)``, in ``[0, H)`` and ``[0, W)``.
    length
        Side of the square, pixels.

    Returns
    -------
    Tensor
        Shape ``(B, C, H, W)``.
    """
    # (B, 2), negative near the upper and left borders: comparing positions clips the square there.
    start = centres - length // 2
    hit = []
    for axis, size in enumerate(images.shape[-2:]):
        position = torch.arange(size, device=images.device) - start[:, axis, None]  # (B, size)
        hit.append((position >= 0) & (position < length))
    hole = hit[0][:, None, :, None] & hit[1][:, None, None, :]  # (B, 1, H, W)
    return images.masked_fill(hole, 0.0)


def normalise(images: Tensor, mean: tuple[float, float, float], std: tuple[float, float, float]) -> Tensor:
    """Map images in [0, 1], shape ``(..., 3, H, W)``, to zero mean and unit deviation in each channel."""
    # (3,) -> (3, 1, 1), which broadcasts over (..., 3, H, W).
    shift, scale = (torch.tensor(values, dtype=images.dtype).to(images.device)[:, None, None] for values in (mean, std))
    return (images - shift) / scale


@dataclass(frozen=True)
class Augmentation:
    """The random changes of a training batch, on whichever device it is; random numbers are drawn on the CPU.

    Where B images are only one device's share of a batch of ``whole``, beginning at ``first``, they are changed as they
    would be in the whole batch.

    Parameters
    ----------
    padding
        Frame of the random crop, pixels; 0 crops nothing.
    flip
        Whether to mirror half of the images.
    cutout
        Side of the square that is set to 0 after normalisation, pixels; 0 cuts nothing.
    resized
        Whether whole images go through :meth:`part` first.
    policy
        Maps an image to an augmented one, drawing from global random states; None does nothing.
    color_jitter
        Arguments of ``torchvision.transforms.v2.ColorJitter``; if empty, no colours change.
    """

    padding: int = 0
    flip: bool = False
    cutout: int = 0
    resized: bool = False
    policy: Callable[[Image.Image], Image.Image] | None = None
    color_jitter: tuple[float, ...] = ()

    def part(self, image: Image.Image, image_size: int, seed: int, number: int) -> Tensor:
        """Crop a whole image at random, as ``torchvision.transforms.v2.RandomResizedCrop(image_size)``.

        Parameters
        ----------
        image
            RGB, of any size.
        image_size
            Height and width of the result, pixels.
        seed, number
            Seed of the batch, and the place of the image in the whole batch.

        Returns
        -------
        Tensor
            uint8, shape ``(3, image_size, image_size)``.
        """
        with seeded_globals(seed, 'resized crop', number):
            return v2.functional.pil_to_tensor(v2.RandomResizedCrop(image_size)(image))

    def pixels(self, images: Tensor, seed: int, first: int = 0, whole: int | None = None) -> Tensor:
        """Crop, flip and recolour a batch of pixels before normalisation, so that the frame of a crop is black.

        Parameters
        ----------
        images
            Pixels, shape ``(B, C, H, W)``; policy and colour jitter need bytes.
        seed
            Seed of the batch.
        first, whole
            Where in the whole batch these images begin, and its size; by default they are the whole batch.

        Returns
        -------
        Tensor
            Changed pixels, same shape and dtype.
        """
        count, part = _drawn(images, first, whole)
        if self.padding:
            # Drawn on the CPU for the whole batch: any device, and any number of devices, gets the same numbers.
            offsets = torch.randint(2 * self.padding + 1, (count, 2), generator=derive_generator(seed, 'crop'))
            images = crop(images, offsets[part].to(images.device), self.padding)
        if self.flip:
            mirrored = torch.rand(count, generator=derive_generator(seed, 'flip')) < 0.5
            images = flip(images, mirrored[part].to(images.device))
        if self.policy is not None or self.color_jitter:
            # torchvision and timm draw from global generators, so each image gets a seed by its place in the whole
            # batch.
            images = torch.stack([self._recoloured(image, seed, number) for number, image in enumerate(images, first)])
        return images

    def normalised(self, images: Tensor, seed: int, first: int = 0, whole: int | None = None) -> Tensor:
        """Cut a square out of each image of a normalised batch ``(B, C, H, W)``; arguments as for :meth:`pixels`."""
        if not self.cutout:
            return images
        count, part = _drawn(images, first, whole)
        generator = derive_generator(seed, 'cutout')
        # (whole, 2): rows, then columns. Centres may lie at the border, where the square is clipped.
        centres = torch.stack([torch.randint(size, (count,), generator=generator) for size in images.shape[-2:]], 1)
        return cutout(images, centres[part].to(images.device), self.cutout)

    def _recoloured(self, pixels: Tensor, seed: int, number: int) -> Tensor:
        """Apply the policy and then the jitter, in timm's order, to one image ``(3, H, W)`` of bytes."""
        image = v2.functional.to_pil_image(pixels)
        if self.policy is not None:
            with seeded_globals(seed, 'policy', number):
                image = self.policy(image)
        if self.color_jitter:
            with seeded_globals(seed, 'colour jitter', number):
                image = v2.ColorJitter(*self.color_jitter)(image)
        return v2.functional.pil_to_tensor(image)


def _drawn(images: Tensor, first: int, whole: int | None) -> tuple[int, slice]:
    """Tell for how many images to draw, and which of the draws are for these images."""
    return len(images) if whole is None else whole, slice(first, first + len(images))
