"""A classifier of timm for images of a given side, refused before a search rather than in the middle of one.

Most of timm's transformers are built for one side, so that they are told that of the images. Some networks halve an
image more often than a small one can bear, so that each is tried with one forward pass. Cost: that pass, once.
"""

from __future__ import annotations

from typing import Any

import timm
import torch
from torch import nn

from nni_wcnas.errors import InvalidArgument
from nni_wcnas.functional.frozen import frozen_statistics
from nni_wcnas.nearest_name import nearest_names

__all__ = ['timm_classifier']


def timm_classifier(name: str, num_classes: int, image_size: int | None = None, **options: Any) -> nn.Module:
    """Build an untrained classifier of timm.

    Parameters
    ----------
    name
        Model name, such as ``'resnet18'``.
    num_classes
        Number of classes.
    image_size
        Side of the images that it must take, in pixels; None leaves it to timm and tries nothing.
    **options
        Arguments of ``timm.create_model``.

    Returns
    -------
    The classifier, in training mode.

    Raises
    ------
    ValueError
        If timm does not know the name, naming near ones, or the model cannot classify images of this side.
    """
    if not timm.is_model(name):
        near = nearest_names(name, timm.list_models(), most=5) or ['resnet18', 'resnet50']
        raise InvalidArgument(
            'name', name, f"near names are {', '.join(near)}, and 'tied' shares the discriminator",
            reason='is no model of timm',
        )
    options = {'num_classes': num_classes, **options}
    if image_size is None:
        return timm.create_model(name, **options)
    try:
        model = _sized(name, image_size, options)
        fits = _logits_shape(model, image_size) == (2, num_classes)
    except Exception as error:  # Each architecture fails in its own way, often by an assertion.
        raise _refusal(name, image_size) from error
    if not fits:
        raise _refusal(name, image_size)
    return model


def _sized(name: str, size: int, options: dict[str, Any]) -> nn.Module:
    """Build the model for images of this side, whether its constructor asks for the side or not."""
    state = torch.get_rng_state()
    try:
        return timm.create_model(name, **{'img_size': size, **options})
    except TypeError as error:
        if 'img_size' not in str(error):
            raise
    # The failed attempt may have drawn weights: the second one starts from the same numbers as a direct call.
    torch.set_rng_state(state)
    return timm.create_model(name, **options)


def _logits_shape(model: nn.Module, size: int) -> tuple[int, ...]:
    """Return the shape that one forward pass gives; neither the model nor the global random state is changed."""
    # Two images: in training mode batch norm refuses one value a channel. Dropout would move the random state.
    with torch.random.fork_rng(devices=[]), torch.no_grad(), frozen_statistics(model):
        return tuple(model(torch.zeros(2, 3, size, size)).shape)


def _refusal(name: str, size: int) -> ValueError:
    """Return the error for a model that cannot classify images of this side."""
    return ValueError(f'The timm model {name!r} cannot classify images of {size} pixels; use \'tied\' or \'resnet18\'.')
