"""Build augmentation policies by timm's names: RandAugment, AugMix, AutoAugment and 3-Augment."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from PIL import Image

from .error import DataArgumentError
from .seeding import seeded_globals

__all__ = ['named_policy']

_SECTION = re.compile(r'[a-z]+\d+(\.\d+)?|t(weights|3a|3aw)')
"""Pattern of a section between the dashes of a name. timm ignores sections that it cannot read, we refuse them."""


def named_policy(
    name: str, image_size: int, mean: tuple[float, float, float]
) -> Callable[[Image.Image], Image.Image]:
    """Build a policy with timm's numbers. It draws from the global random states of Python and NumPy.

    Parameters
    ----------
    name
        Name as for ``timm.data.create_transform(auto_augment=...)``, e.g. ``'rand-m9-mstd0.5'``.
    image_size
        Height and width of the images, pixels.
    mean
        Mean of each channel, pixels in [0, 1]: the colour of what is moved in from outside.

    Returns
    -------
    Callable
        Maps an RGB image to one of the same size.

    Raises
    ------
    DataError
        If timm has no such policy.
    """
    from timm.data.transforms_factory import transforms_imagenet_train  # Here, because few need it and it is slow.

    first, *others = name.split('-')
    try:
        if not first or not all(map(_SECTION.fullmatch, others)) or (first != 'rand' and 'tweights' in others):
            raise ValueError('it must be a name, then letters with a number each, between dashes')
        # timm has no public function from a name to a policy. Its second group of transforms begins with the policy.
        _, composed, _ = transforms_imagenet_train(image_size, mean=mean, auto_augment=name, separate=True)
        policy = _with_every_posterize(composed.transforms[0])
        # Some wrong numbers show only when the policy is used: better here than in the first batch.
        with seeded_globals(0):
            policy(Image.new('RGB', (image_size, image_size)))
    except (AssertionError, ValueError, TypeError) as error:
        reason = f' ({error})' if str(error) else ''
        raise DataArgumentError(
            'auto_augment', name,
            "write it as 'rand-m9-mstd0.5', 'augmix-m3-w3', 'original-mstd0.5', 'v0' or '3a', with numbers of your own",
            reason=f"is not one of timm's policies{reason}",
        ) from error
    return policy


def _with_every_posterize(policy: Any) -> Any:
    """Let a policy of timm posterize to 0 bits, which it may ask for and newer versions of Pillow refuse."""
    from timm.data.auto_augment import posterize

    # RandAugment and AugMix hold a list of operations, AutoAugment and 3-Augment a list of lists.
    operations = policy.ops if hasattr(policy, 'ops') else [op for pair in policy.policy for op in pair]
    for operation in operations:
        if operation.aug_fn is posterize:
            operation.aug_fn = _posterize
    return policy


def _posterize(image: Image.Image, bits: int, **arguments: Any) -> Image.Image:
    """Keep the ``bits`` highest bits of each channel; with 0 bits the image is black."""
    from timm.data.auto_augment import posterize

    return posterize(image, bits, **arguments) if bits > 0 else Image.new(image.mode, image.size)
