"""Show what a network predicts for single images, as plain values for a record."""

from __future__ import annotations

import base64
import io
from typing import Any

from PIL import Image
from torch import Tensor

from nni_wcnas.measure.predictions import Predictions

__all__ = ['show_examples']


def show_examples(predictions: Predictions, images: Tensor, places: Tensor) -> list[dict[str, Any]]:
    """List what a network predicts for some images.

    Parameters
    ----------
    predictions
        The predictions for N examples, with their positions.
    images
        The images to show, uint8, shape ``(K, 3, H, W)``.
    places
        Which of the N examples they are, shape ``(K,)``.

    Returns
    -------
    list of dict
        For each image ``position`` in its data set, true ``label``, ``predicted`` class, ``confidence`` in it, and
        ``image``, a PNG file in base64.

    Raises
    ------
    ValueError
        If the predictions have no positions.
    """
    chosen = predictions[places]
    confidence = chosen.probabilities.max(dim=1).values
    if chosen.indices is None:
        raise ValueError('the predictions have no positions: use data of nni_wcnas.data')
    return [
        # The record is JSON, which knows plain numbers only.
        {'position': int(position), 'label': int(label), 'predicted': int(predicted), 'confidence': float(sure),
         'image': _png(image)}
        for position, label, predicted, sure, image
        in zip(chosen.indices, chosen.labels, chosen.classes, confidence, images, strict=True)
    ]


def _png(image: Tensor) -> str:
    """Encode an image ``(3, H, W)`` of bytes as the content of a PNG file, in base64."""
    buffer = io.BytesIO()
    # (3, H, W) -> (H, W, 3), contiguous as Pillow needs it.
    Image.fromarray(image.permute(1, 2, 0).contiguous().numpy()).save(buffer, 'PNG', optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()

